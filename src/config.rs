//! What all sections of the configuration are made of: values with bounds, and how they are read.

pub mod identity;
pub mod json;
pub(crate) mod pointer;
pub(crate) mod read;
pub mod values;
