//! The error type of every Icecap crate, and the two judgments made on it.
//!
//! A kind exists only where a caller acts differently on it. Two exhaustive matches live beside the
//! kinds: [`ErrorKind::retry`] (what may be tried again) and [`ErrorKind::applied`] (whether the failed
//! call may have taken effect). Staged files may be deleted only when `applied()` is [`Applied::No`].

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

/// A result whose error is an Icecap [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = Box<dyn StdError + Send + Sync + 'static>;

/// What went wrong, in the terms a caller acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller's SQL, argument or setting is wrong.
    Invalid,
    /// Valid SQL or Iceberg that Icecap does not do.
    Unsupported,
    /// The named thing does not exist.
    NotFound,
    /// The named thing exists already.
    AlreadyExists,
    /// Credentials or policy forbid it.
    Denied,
    /// The base moved in a way that the change cannot absorb.
    Conflict,
    /// This write's ledger row says fenced; the write can never commit.
    Fenced,
    /// A service asked to slow down.
    Throttled,
    /// It failed before anything was sent, or was refused before anything was done.
    Unavailable,
    /// The swap was sent and no trustworthy answer came back.
    CommitStateUnknown,
    /// Memory, disk, time or a payload limit ran out.
    Exhausted,
    /// Stored bytes break their format's specification.
    Corrupt,
    /// Told to stop before the swap was sent.
    Cancelled,
    /// An invariant of Icecap's own broke.
    Bug,
}

/// What may be tried again after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Nothing: the same call fails again.
    Never,
    /// The same request, after a pause.
    Same,
    /// A new plan on a newer base.
    Replan,
    /// Only the same write id may be asked again.
    SameWriteOnly,
}

/// Whether a failed call may have taken effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It certainly had no effect.
    No,
    /// It may have had its effect.
    Unknown,
}

impl ErrorKind {
    /// Every kind.
    pub const ALL: [Self; 14] = [
        Self::Invalid,
        Self::Unsupported,
        Self::NotFound,
        Self::AlreadyExists,
        Self::Denied,
        Self::Conflict,
        Self::Fenced,
        Self::Throttled,
        Self::Unavailable,
        Self::CommitStateUnknown,
        Self::Exhausted,
        Self::Corrupt,
        Self::Cancelled,
        Self::Bug,
    ];

    /// The kind of a name that [`as_str`](Self::as_str) gave.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The kind's name as it is printed: `error[<name>]`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Unsupported => "unsupported",
            Self::NotFound => "not-found",
            Self::AlreadyExists => "already-exists",
            Self::Denied => "denied",
            Self::Conflict => "conflict",
            Self::Fenced => "fenced",
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
            Self::CommitStateUnknown => "commit-state-unknown",
            Self::Exhausted => "exhausted",
            Self::Corrupt => "corrupt",
            Self::Cancelled => "cancelled",
            Self::Bug => "bug",
        }
    }

    /// What may be tried again.
    pub fn retry(self) -> Retry {
        match self {
            Self::Invalid
            | Self::Unsupported
            | Self::NotFound
            | Self::AlreadyExists
            | Self::Denied
            | Self::Fenced
            | Self::Exhausted
            | Self::Corrupt
            | Self::Cancelled
            | Self::Bug => Retry::Never,
            Self::Conflict => Retry::Replan,
            Self::Throttled | Self::Unavailable => Retry::Same,
            Self::CommitStateUnknown => Retry::SameWriteOnly,
        }
    }

    /// Whether the failed call may have taken effect.
    ///
    /// A `Bug` is judged unknown: code that broke its own invariant cannot vouch for what it did.
    pub fn applied(self) -> Applied {
        match self {
            Self::CommitStateUnknown | Self::Bug => Applied::Unknown,
            Self::Invalid
            | Self::Unsupported
            | Self::NotFound
            | Self::AlreadyExists
            | Self::Denied
            | Self::Conflict
            | Self::Fenced
            | Self::Throttled
            | Self::Unavailable
            | Self::Exhausted
            | Self::Corrupt
            | Self::Cancelled => Applied::No,
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A failure: its kind, a sentence (what failed, on which thing, what to do), fields, and its cause.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    context: Vec<(Cow<'static, str>, String)>,
    retry_after: Option<Duration>,
    source: Option<Source>,
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $kind:ident,)*) => {
        $($(#[$doc])* pub fn $name(message: impl Into<String>) -> Self {
            Self::new(ErrorKind::$kind, message)
        })*
    };
}

impl Error {
    /// Makes an error of `kind` saying `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            context: Vec::new(),
            retry_after: None,
            source: None,
        }))
    }

    constructors! {
        /// The caller's SQL, argument or setting is wrong.
        invalid => Invalid,
        /// Valid, but not done by Icecap.
        unsupported => Unsupported,
        /// The named thing does not exist.
        not_found => NotFound,
        /// The named thing exists already.
        already_exists => AlreadyExists,
        /// Forbidden by credentials or policy.
        denied => Denied,
        /// The base moved in a way that the change cannot absorb.
        conflict => Conflict,
        /// The write is fenced and can never commit.
        fenced => Fenced,
        /// Failed before anything was sent.
        unavailable => Unavailable,
        /// The swap was sent and its outcome is not known.
        commit_state_unknown => CommitStateUnknown,
        /// Memory, disk, time or a payload limit ran out.
        exhausted => Exhausted,
        /// Stored bytes break their format.
        corrupt => Corrupt,
        /// Told to stop before the swap was sent.
        cancelled => Cancelled,
        /// An invariant of Icecap's own broke.
        bug => Bug,
    }

    /// Adds a field, such as the table or the path concerned.
    #[must_use]
    pub fn with(mut self, key: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        self.0.context.push((key.into(), value.into()));
        self
    }

    /// Keeps the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Keeps how long a service asked to wait.
    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.0.retry_after = Some(after);
        self
    }

    /// The same error as another kind, for a caller that knows more about when it happened.
    #[must_use]
    pub fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.0.kind = kind;
        self
    }

    /// The kind.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The sentence, without fields and cause.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The fields.
    pub fn context(&self) -> &[(Cow<'static, str>, String)] {
        &self.0.context
    }

    /// How long a service asked to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// What may be tried again.
    pub fn retry(&self) -> Retry {
        self.kind().retry()
    }

    /// Whether the failed call may have taken effect.
    pub fn applied(&self) -> Applied {
        self.kind().applied()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if !self.0.context.is_empty() {
            f.write_str(" (")?;
            for (at, (key, value)) in self.0.context.iter().enumerate() {
                let comma = if at == 0 { "" } else { ", " };
                write!(f, "{comma}{key}: {value}")?;
            }
            f.write_str(")")?;
        }
        if let Some(source) = &self.0.source {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error[{}]: {self}", self.0.kind)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|s| s as &(dyn StdError + 'static))
    }
}

/// The kernel's errors arrive as what they mean to an Icecap caller.
impl From<iceberg::Error> for Error {
    fn from(error: iceberg::Error) -> Self {
        use iceberg::ErrorKind as K;
        let kind = match error.kind() {
            K::DataInvalid => ErrorKind::Corrupt,
            K::FeatureUnsupported => ErrorKind::Unsupported,
            K::NamespaceAlreadyExists | K::TableAlreadyExists => ErrorKind::AlreadyExists,
            K::NamespaceNotFound | K::TableNotFound => ErrorKind::NotFound,
            K::PreconditionFailed | K::CatalogCommitConflicts => ErrorKind::Conflict,
            _ => ErrorKind::Unavailable,
        };
        Self::new(kind, error.message().to_owned()).with_source(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_unknown_outcome_or_a_bug_may_have_taken_effect() {
        assert_eq!(Error::commit_state_unknown("x").applied(), Applied::Unknown);
        assert_eq!(Error::bug("x").applied(), Applied::Unknown);
        assert_eq!(Error::conflict("x").applied(), Applied::No);
        assert_eq!(Error::commit_state_unknown("x").retry(), Retry::SameWriteOnly);
    }

    #[test]
    fn every_kind_is_found_by_its_name() {
        for kind in ErrorKind::ALL {
            assert_eq!(ErrorKind::of_name(kind.as_str()), Some(kind));
        }
        assert_eq!(ErrorKind::of_name("no-such-kind"), None);
    }

    #[test]
    fn it_prints_the_sentence_the_fields_and_the_cause() {
        let error = Error::not_found("table does not exist")
            .with("table", "a.b")
            .with_source(std::io::Error::other("gone"));
        assert_eq!(error.to_string(), "table does not exist (table: a.b): gone");
        assert_eq!(format!("{error:?}"), "error[not-found]: table does not exist (table: a.b): gone");
    }
}
