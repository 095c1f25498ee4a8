//! The files of a new scenario.
