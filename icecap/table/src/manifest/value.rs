//! Avro's binary encoding (Avro specification, "Binary Encoding").

use super::Broken;
use super::schema::Node;

/// Bytes that are read from the front.
#[derive(Clone, Copy)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Broken> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or("it ends too early")?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or("it ends too early")?;
        self.0 = rest;
        Ok(*taken)
    }

    /// A zig-zag number of variable length.
    pub(super) fn long(&mut self) -> Result<i64, Broken> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
            }
        }
        Err("a number is longer than 64 bits".into())
    }

    /// Bytes with their length before them.
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Broken> {
        let length = usize::try_from(self.long()?).map_err(|_| "a length is negative")?;
        self.take(length)
    }
}

/// A value, the bytes in it borrowed.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    Boolean(bool),
    /// An `int`, a `long` or an `enum`.
    Long(i64),
    Float(f32),
    Double(f64),
    /// A `string`, `bytes` or `fixed`.
    Bytes(&'a [u8]),
    Array(Vec<Value<'a>>),
    Map,
    /// Fields with their ids, in the order of the schema.
    Record(Vec<(Option<i32>, Value<'a>)>),
}

impl<'a> Value<'a> {
    /// A record's field by its id; NULL when it has none.
    pub(super) fn field(&self, id: i32) -> &Value<'a> {
        match self {
            Self::Record(fields) => {
                fields.iter().find(|field| field.0 == Some(id)).map_or(&Self::Null, |field| &field.1)
            }
            _ => &Self::Null,
        }
    }
}

/// Decodes the objects of one block.
pub(super) struct Decoder<'a> {
    bytes: Bytes<'a>,
    /// Values that may still come. A schema can make many of no bytes at all.
    budget: usize,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let budget = bytes.len().saturating_mul(8).saturating_add(1 << 16);
        Self { bytes: Bytes(bytes), budget }
    }

    /// That nothing is left.
    pub(super) fn end(&self) -> Result<(), Broken> {
        if self.bytes.0.is_empty() { Ok(()) } else { Err("a block has bytes after its last object".into()) }
    }

    pub(super) fn value(&mut self, node: &Node) -> Result<Value<'a>, Broken> {
        self.budget = self.budget.checked_sub(1).ok_or("it holds more values than bytes")?;
        Ok(match node {
            Node::Null => Value::Null,
            Node::Boolean => Value::Boolean(self.bytes.array::<1>()? != [0]),
            Node::Long => Value::Long(self.bytes.long()?),
            Node::Float => Value::Float(f32::from_le_bytes(self.bytes.array()?)),
            Node::Double => Value::Double(f64::from_le_bytes(self.bytes.array()?)),
            Node::Bytes => Value::Bytes(self.bytes.bytes()?),
            Node::Fixed(length) => Value::Bytes(self.bytes.take(*length)?),
            Node::Array(item) => {
                let mut items = Vec::new();
                self.blocks(|decoder| {
                    items.push(decoder.value(item)?);
                    Ok(())
                })?;
                Value::Array(items)
            }
            // No field of ours is an Avro map.
            Node::Map(item) => {
                self.blocks(|decoder| {
                    decoder.bytes.bytes()?;
                    decoder.value(item).map(drop)
                })?;
                Value::Map
            }
            Node::Union(options) => {
                let at = usize::try_from(self.bytes.long()?).map_err(|_| "a union's choice is negative")?;
                self.value(options.get(at).ok_or("a union's choice is not there")?)?
            }
            Node::Record(fields) => {
                let values = fields.iter().map(|field| Ok((field.id, self.value(&field.node)?)));
                Value::Record(values.collect::<Result<_, Broken>>()?)
            }
        })
    }

    fn blocks(&mut self, mut item: impl FnMut(&mut Self) -> Result<(), Broken>) -> Result<(), Broken> {
        loop {
            let count = match self.bytes.long()? {
                0 => return Ok(()),
                count @ ..0 => {
                    self.bytes.long()?;
                    count.unsigned_abs()
                }
                count => count.unsigned_abs(),
            };
            for _ in 0..count {
                item(self)?;
            }
        }
    }
}

pub(super) fn put_long(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_long(out, bytes.len() as i64);
    out.extend_from_slice(bytes);
}

/// An optional value: a union of null and its type, in this order.
pub(super) fn put_optional<T>(out: &mut Vec<u8>, value: Option<T>, put: impl FnOnce(&mut Vec<u8>, T)) {
    match value {
        None => put_long(out, 0),
        Some(value) => {
            put_long(out, 1);
            put(out, value);
        }
    }
}
