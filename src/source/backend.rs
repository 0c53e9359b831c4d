//! The source of the program. This is the only file that names it outside `cli/`.

use crate::source::folder::inbox::Inbox;

/// Where the files come from.
pub type AnySource = Inbox;
