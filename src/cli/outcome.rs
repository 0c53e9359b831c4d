//! How a command ends.

use crate::config::ConfigError;
use crate::daemon::app::AppError;
use crate::store::StoreError;

/// The exit code of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done = 0,
    /// Records were quarantined, a delivery failed or is incomplete, or a receipt does not close.
    Short = 1,
    /// Wrong usage or configuration.
    Usage = 2,
    /// The store or the system failed.
    System = 3,
    /// Stopped before the end. The same command resumes when it is run again.
    Stopped = 4,
}

/// Why a command could not do its work.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub message: String,
}

impl Failure {
    pub fn usage(message: impl ToString) -> Self {
        Self { exit: Exit::Usage, message: message.to_string() }
    }

    pub fn system(message: impl ToString) -> Self {
        Self { exit: Exit::System, message: message.to_string() }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::usage(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        if error.is_configuration() { Self::usage(error) } else { Self::system(error) }
    }
}

impl From<AppError> for Failure {
    fn from(error: AppError) -> Self {
        match error {
            AppError::Config(error) => error.into(),
            AppError::Store(error) => error.into(),
            other => Self::system(other),
        }
    }
}

/// An output that is closed early is not a failure.
impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self { exit: Exit::Done, message: String::new() };
        }
        Self::system(error)
    }
}

pub type CommandResult = Result<Exit, Failure>;
