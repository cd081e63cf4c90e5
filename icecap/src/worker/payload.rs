//! [`Payload`]: bytes that travel in a message, or lie in the store where the message says.

use bytes::Bytes;
use icecap_table::storage::Storage;
use icecap_table::{Error, Result};
use prost::Message;
use sha2::{Digest, Sha256};

/// The largest task that travels in a request: far below what Lambda takes (6 MB), as one task's plan is small.
pub const INLINE_TASK_BYTES: usize = 256_000;
/// The largest report that travels in a reply.
pub const INLINE_REPLY_BYTES: usize = 1_000_000;

/// The longest object that a reference may name.
const MAX_OBJECT_BYTES: u64 = 1 << 30;

/// Bytes, here or in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// The bytes themselves.
    Inline(Bytes),
    /// Where they lie.
    Object(StoredObject),
}

/// An object that holds a payload, and what its bytes must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredObject {
    /// Its location.
    pub location: String,
    /// Its length in bytes.
    pub len: u64,
    /// The digest of its bytes.
    pub sha256: [u8; 32],
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PayloadMessage {
    #[prost(oneof = "Where", tags = "1, 2")]
    payload: Option<Where>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Where {
    #[prost(bytes = "bytes", tag = "1")]
    Inline(Bytes),
    #[prost(message, tag = "2")]
    Object(ObjectMessage),
}

#[derive(Clone, PartialEq, Message)]
struct ObjectMessage {
    #[prost(string, tag = "1")]
    location: String,
    #[prost(uint64, tag = "2")]
    len: u64,
    #[prost(bytes = "vec", tag = "3")]
    sha256: Vec<u8>,
}

impl Payload {
    /// Stores `bytes` as a new object at `location`; gives the reference.
    ///
    /// # Errors
    /// Of the store's kinds.
    pub async fn store(storage: &Storage, location: String, bytes: Bytes) -> Result<Self> {
        let sha256 = Sha256::digest(&bytes).into();
        let len = bytes.len() as u64;
        storage.put_new(&location, bytes).await?;
        Ok(Self::Object(StoredObject { location, len, sha256 }))
    }

    /// The bytes.
    ///
    /// # Errors
    /// Of the store's kinds; `Corrupt` when the object is not what the reference says.
    pub async fn fetch(&self, storage: &Storage) -> Result<Bytes> {
        let object = match self {
            Self::Inline(bytes) => return Ok(bytes.clone()),
            Self::Object(object) => object,
        };
        let wrong = |what: &str| {
            Err(Error::corrupt(format!("a message's object {what}")).with("location", &object.location))
        };
        if object.len > MAX_OBJECT_BYTES {
            return wrong("is too large");
        }
        let bytes = storage.read_at_most(&object.location, object.len).await?;
        if bytes.len() as u64 != object.len || Sha256::digest(&bytes)[..] != object.sha256 {
            return wrong("is not what was stored there");
        }
        Ok(bytes)
    }

    pub(super) fn message(&self) -> PayloadMessage {
        let payload = match self {
            Self::Inline(bytes) => Where::Inline(bytes.clone()),
            Self::Object(object) => Where::Object(ObjectMessage {
                location: object.location.clone(),
                len: object.len,
                sha256: object.sha256.to_vec(),
            }),
        };
        PayloadMessage { payload: Some(payload) }
    }

    pub(super) fn of_message(message: Option<PayloadMessage>) -> Result<Self> {
        let broken = || Error::corrupt("a message's payload is broken");
        Ok(match message.and_then(|message| message.payload).ok_or_else(broken)? {
            Where::Inline(bytes) => Self::Inline(bytes),
            Where::Object(object) => Self::Object(StoredObject {
                sha256: object.sha256.try_into().map_err(|_| broken())?,
                location: object.location,
                len: object.len,
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use icecap_table::ErrorKind;

    use super::*;

    #[tokio::test]
    async fn a_stored_payload_comes_back_and_a_changed_one_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::local();
        let location = format!("file://{}/message", folder.path().display());
        let payload = Payload::store(&storage, location, Bytes::from_static(b"a plan")).await.unwrap();
        assert_eq!(payload.fetch(&storage).await.unwrap(), "a plan");
        std::fs::write(folder.path().join("message"), "a plot").unwrap();
        assert_eq!(payload.fetch(&storage).await.unwrap_err().kind(), ErrorKind::Corrupt);
        std::fs::write(folder.path().join("message"), "a plan that grew").unwrap();
        assert_eq!(payload.fetch(&storage).await.unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
