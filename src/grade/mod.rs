//! Grading: five layers of checks on a node, each with what was expected, what was seen and what to do next.
