//! Manifests as Avro files (spec, "Manifests"): what a snapshot's list names, entry by entry.
//!
//! Fields are found by their ids, as the specification says, never by name; partition tuples of every type come and
//! go in the Avro types of the specification's Appendix A. Bytes in, entries out, and back: nothing here reads a
//! table or a file.

mod container;
mod entry;
mod partition;
mod schema;
mod summary;
#[cfg(test)]
mod tests;
mod value;
mod writer;

use iceberg::spec::{ManifestEntry, ManifestMetadata};

pub(crate) use self::writer::{ManifestEncoder, UNASSIGNED};
use crate::error::{Error, Result};

/// What a manifest holds: its entries as they are written, without what they inherit, and its header.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Manifest {
    pub(crate) entries: Vec<ManifestEntry>,
    pub(crate) header: ManifestMetadata,
}

impl Manifest {
    /// Parses the manifest that lies at `location`.
    ///
    /// # Errors
    /// `Corrupt` when the bytes break the specification or hold more than any writer makes; `Unsupported` for a
    /// compression that is not known.
    pub(crate) fn parse(bytes: &[u8], location: &str) -> Result<Self> {
        Self::decode(bytes).map_err(|broken| broken.into_error().with("manifest", location))
    }

    fn decode(bytes: &[u8]) -> Result<Self, Broken> {
        let container = container::Container::open(bytes)?;
        let schema = schema::parse(container.metadata("avro.schema")?)?;
        let header = ManifestMetadata::parse(container.all_metadata())
            .map_err(|error| Broken::Bytes(format!("header: {error}")))?;
        let reader = entry::EntryReader::new(&header)?;
        let mut entries = Vec::new();
        for block in container.blocks() {
            let block = block?;
            let mut values = value::Decoder::new(&block.bytes);
            for _ in 0..block.objects {
                entries.push(reader.entry(&values.value(&schema)?)?);
            }
            values.end()?;
        }
        Ok(Self { entries, header })
    }
}

/// Why bytes are no manifest.
#[derive(Debug)]
enum Broken {
    /// They break the specification, and how.
    Bytes(String),
    /// Their compression is not known.
    Codec(String),
}

impl Broken {
    fn into_error(self) -> Error {
        match self {
            Self::Bytes(why) => Error::corrupt("manifest cannot be parsed").with_source(Error::corrupt(why)),
            Self::Codec(codec) => {
                Error::unsupported(format!("reading manifests compressed with {codec} is not supported yet"))
            }
        }
    }
}

impl From<&str> for Broken {
    fn from(why: &str) -> Self {
        Self::Bytes(why.to_owned())
    }
}
