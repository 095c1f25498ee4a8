//! A report as text, JSON and JUnit XML. Renderers compute nothing.

pub mod json;
pub mod junit;
pub mod text;
