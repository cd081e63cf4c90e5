//! Where a data file goes: partition folders, the object-storage layout, and its name.

use crate::write::transform::hash_text;

/// The longest folder name made from a partition value, in bytes. File systems allow 255.
const MAX_SEGMENT_BYTES: usize = 200;

/// The longest partition path, in bytes. Object stores allow keys of 1024 in all.
const MAX_PATH_BYTES: usize = 500;

/// `name=value`, both encoded so that no character leaves the folder; an overlong one is cut and told
/// apart by its hash.
pub(super) fn segment(name: &str, value: &str) -> String {
    let mut encoded = encode(name);
    encoded.push('=');
    encoded.push_str(&encode(value));
    shortened(encoded, MAX_SEGMENT_BYTES)
}

/// The folders of a partition, joined; an overlong path becomes one folder.
pub(super) fn join(segments: &[String]) -> String {
    let path = segments.join("/");
    if path.len() <= MAX_PATH_BYTES { path } else { shortened(path.replace('/', "~"), MAX_SEGMENT_BYTES) }
}

fn shortened(mut encoded: String, limit: usize) -> String {
    if encoded.len() <= limit {
        return encoded;
    }
    // Should two folders get one name, their files still differ in theirs.
    let hash = hash_text(&encoded);
    // Encoded text is ASCII: every byte is a character boundary.
    encoded.truncate(limit - 9);
    encoded.push_str(&format!("~{hash:08x}"));
    encoded
}

/// As `java.net.URLEncoder` does, but for `*`, which file globs would take for a pattern.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => encoded.push(char::from(byte)),
            b' ' => encoded.push('+'),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// The location of a file called `name` in the partition folder `partition` (empty: none).
///
/// With the object-storage layout, folders of a hash come first, so that keys spread over the store's
/// partitions, as Iceberg Java lays them out.
pub(crate) fn file_location(
    data_location: &str,
    partition: &str,
    name: &str,
    object_storage: bool,
) -> String {
    let data = data_location.trim_end_matches('/');
    let below = if partition.is_empty() { name.to_owned() } else { format!("{partition}/{name}") };
    if !object_storage {
        return format!("{data}/{below}");
    }
    let bits = format!("{:020b}", hash_text(&below).cast_unsigned() & 0xf_ffff);
    format!("{data}/{}/{}/{}/{}/{below}", &bits[..4], &bits[4..8], &bits[8..12], &bits[12..])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn special_characters_stay_in_the_folder() {
        assert_eq!(segment("a b", "../é*"), "a+b=..%2F%C3%A9%2A");
        assert_eq!(segment("", ".."), "=..");
    }

    #[test]
    fn long_values_are_cut_and_stay_apart() {
        let one = segment("s", &"x".repeat(5000));
        let other = segment("s", &format!("{}y", "x".repeat(4999)));
        assert_eq!((one.len(), other.len()), (MAX_SEGMENT_BYTES, MAX_SEGMENT_BYTES));
        assert_ne!(one, other);
        let many: Vec<String> = (0..40).map(|n| segment(&format!("f{n}"), &"y".repeat(100))).collect();
        assert!(join(&many).len() <= MAX_SEGMENT_BYTES);
    }

    #[test]
    fn the_object_storage_layout_spreads_files() {
        assert_eq!(file_location("s3://b/t/data/", "p=1", "f.parquet", false), "s3://b/t/data/p=1/f.parquet");
        let location = file_location("s3://b/t/data", "p=1", "f.parquet", true);
        let parts: Vec<_> = location.strip_prefix("s3://b/t/data/").unwrap().split('/').collect();
        assert_eq!(parts.iter().map(|p| p.len()).collect::<Vec<_>>(), [4, 4, 4, 8, 3, 9]);
        assert!(parts[..4].iter().all(|part| part.bytes().all(|b| b == b'0' || b == b'1')));
    }

    proptest! {
        #[test]
        fn no_value_leaves_the_data_location(name in "\\PC{0,20}", value in "\\PC{0,300}") {
            let partition = join(&[segment(&name, &value)]);
            prop_assert!(!partition.contains('/') && partition != "." && partition != "..");
            prop_assert!(partition.is_ascii() && partition.len() <= MAX_SEGMENT_BYTES);
        }
    }
}
