//! The schema: the names and declarations of all tables, the statements that create them, and what exists.

pub mod create;
pub mod ddl;
pub mod declared;
pub mod format;
pub mod guard;
pub mod identity;
pub mod names;
pub mod added_columns;
pub mod state;
