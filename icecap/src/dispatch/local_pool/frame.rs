//! Frames on a child's standard input and output: length (4 bytes, little-endian), kind (1 byte), bytes.

use std::io::{self, Read, Write};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The longest frame: what is longer is not from us.
const MAX_FRAME_BYTES: u32 = 1 << 30;
const HEAD_BYTES: usize = 5;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A child's first word: its build id.
    Hello = 1,
    /// An encoded task request.
    Request = 2,
    /// An encoded task reply.
    Reply = 3,
}

impl Kind {
    fn of(byte: u8) -> io::Result<Self> {
        match byte {
            1 => Ok(Self::Hello),
            2 => Ok(Self::Request),
            3 => Ok(Self::Reply),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "a frame of an unknown kind")),
        }
    }
}

fn head(kind: Kind, bytes: &[u8]) -> io::Result<[u8; HEAD_BYTES]> {
    let length = u32::try_from(bytes.len()).ok().filter(|length| *length <= MAX_FRAME_BYTES);
    let length =
        length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a frame that is too long"))?;
    let [a, b, c, d] = length.to_le_bytes();
    Ok([a, b, c, d, kind as u8])
}

fn parse(head: [u8; HEAD_BYTES]) -> io::Result<(Kind, usize)> {
    let [a, b, c, d, kind] = head;
    let length = u32::from_le_bytes([a, b, c, d]);
    if length > MAX_FRAME_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame that is too long"));
    }
    Ok((Kind::of(kind)?, length as usize))
}

/// Writes a frame.
pub(super) async fn send(to: &mut (impl AsyncWrite + Unpin), kind: Kind, bytes: &[u8]) -> io::Result<()> {
    to.write_all(&head(kind, bytes)?).await?;
    to.write_all(bytes).await?;
    to.flush().await
}

/// Reads a frame of this kind.
pub(super) async fn receive(from: &mut (impl AsyncRead + Unpin), kind: Kind) -> io::Result<Bytes> {
    let mut head = [0; HEAD_BYTES];
    from.read_exact(&mut head).await?;
    let (found, length) = parse(head)?;
    if found != kind {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame of another kind than is due"));
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes).await?;
    Ok(bytes.into())
}

/// Writes a frame to a blocking pipe.
pub(super) fn send_blocking(to: &mut impl Write, kind: Kind, bytes: &[u8]) -> io::Result<()> {
    to.write_all(&head(kind, bytes)?)?;
    to.write_all(bytes)?;
    to.flush()
}

/// Reads a frame of this kind from a blocking pipe; nothing at its end.
pub(super) fn receive_blocking(from: &mut impl Read, kind: Kind) -> io::Result<Option<Bytes>> {
    let mut head = [0; HEAD_BYTES];
    match from.read_exact(&mut head) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let (found, length) = parse(head)?;
    if found != kind {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame of another kind than is due"));
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)?;
    Ok(Some(bytes.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_framing_is_frozen_and_both_ends_agree() {
        let mut pipe = Vec::new();
        send(&mut pipe, Kind::Request, b"abc").await.unwrap();
        assert_eq!(pipe, b"\x03\x00\x00\x00\x02abc");
        let mut blocking = Vec::new();
        send_blocking(&mut blocking, Kind::Request, b"abc").unwrap();
        assert_eq!(pipe, blocking);
        assert_eq!(receive(&mut pipe.as_slice(), Kind::Request).await.unwrap(), "abc");
        assert_eq!(receive_blocking(&mut pipe.as_slice(), Kind::Request).unwrap().unwrap(), "abc");
        assert_eq!(receive_blocking(&mut &b""[..], Kind::Request).unwrap(), None);
    }

    #[tokio::test]
    async fn what_is_no_frame_is_refused_before_it_is_read() {
        for bytes in
            [&b"\xff\xff\xff\xff\x02"[..], b"\x01\x00\x00\x00\x09x", b"\x00\x00\x00\x00\x03", b"\x05\x00"]
        {
            assert!(receive(&mut &bytes[..], Kind::Request).await.is_err(), "{bytes:?}");
        }
        assert!(receive_blocking(&mut &b"\x05\x00\x00\x00\x02ab"[..], Kind::Request).is_err());
    }
}
