//! Murmur3, 32 bits, x86 variant, seed 0: the hash of Iceberg's bucket transform (spec, appendix B).

const C1: u32 = 0xcc9e_2d51;
const C2: u32 = 0x1b87_3593;

fn mix_word(word: u32) -> u32 {
    word.wrapping_mul(C1).rotate_left(15).wrapping_mul(C2)
}

fn absorb(hash: u32, word: u32) -> u32 {
    (hash ^ mix_word(word)).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64)
}

fn finish(mut hash: u32, length: u32) -> i32 {
    hash ^= length;
    hash ^= hash >> 16;
    hash = hash.wrapping_mul(0x85eb_ca6b);
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(0xc2b2_ae35);
    hash ^= hash >> 16;
    hash.cast_signed()
}

/// The hash of bytes.
pub(super) fn hash_bytes(bytes: &[u8]) -> i32 {
    let mut hash = 0_u32;
    let mut words = bytes.chunks_exact(4);
    for word in &mut words {
        hash = absorb(hash, u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        let mut tail = [0_u8; 4];
        tail[..rest.len()].copy_from_slice(rest);
        hash ^= mix_word(u32::from_le_bytes(tail));
    }
    // Only the low 32 bits of the length take part, whatever the input's length.
    finish(hash, (bytes.len() & 0xffff_ffff) as u32)
}

/// The hash of a 64-bit integer's eight little-endian bytes; smaller integers are widened first.
pub(super) fn hash_long(value: i64) -> i32 {
    let bits = value.cast_unsigned();
    let low = absorb(0, (bits & 0xffff_ffff) as u32);
    finish(absorb(low, (bits >> 32) as u32), 8)
}

/// The hash of a decimal: of the fewest big-endian bytes that hold its unscaled value.
pub(super) fn hash_decimal(unscaled: i128) -> i32 {
    let bytes = unscaled.to_be_bytes();
    hash_bytes(super::minimal_twos_complement(&bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_values_of_the_specification() {
        assert_eq!(hash_long(34), 2_017_239_379);
        assert_eq!(hash_decimal(1420), -500_754_589);
        assert_eq!(hash_long(17_486), -653_330_422);
        assert_eq!(hash_long(81_068_000_000), -662_762_989);
        assert_eq!(hash_long(1_510_871_468_000_000), -2_047_944_441);
        assert_eq!(hash_long(1_510_871_468_000_001), -1_207_196_810);
        assert_eq!(hash_bytes(b"iceberg"), 1_210_000_089);
        assert_eq!(hash_bytes(&[0, 1, 2, 3]), -188_683_207);
        let uuid = uuid::Uuid::parse_str("f79c3e09-677c-4bbd-a479-3f349cb785e7").unwrap();
        assert_eq!(hash_bytes(uuid.as_bytes()), 1_488_055_340);
    }

    proptest! {
        #[test]
        fn a_long_hashes_as_its_bytes(value: i64) {
            prop_assert_eq!(hash_long(value), hash_bytes(&value.to_le_bytes()));
        }
    }
}
