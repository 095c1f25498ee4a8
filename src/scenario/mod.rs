//! Scenarios: exercises as files, their variables, setup, faults, checks and attempts.
