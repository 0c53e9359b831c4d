//! Where files come from.

pub mod folder;
