use std::io::Read;

use flate2::read::GzDecoder;
use proptest::prelude::*;

use super::*;

/// Like a snapshot: much that repeats, and something that does not.
fn member(number: u64) -> Bytes {
    let noise = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!(r#"{{"snapshot-id":{noise},"summary":{{"operation":"append","total-records":"{number}"}}}}"#)
        .into()
}

fn list(numbers: std::ops::Range<u64>) -> List {
    List::new(numbers.map(member).collect())
}

fn text(list: &List) -> Vec<u8> {
    let mut text = Vec::new();
    list.write(&mut text);
    assert_eq!(text.len(), list.length());
    text
}

/// The list's text by way of a gzip file of one member.
fn by_gzip(list: &List) -> Vec<u8> {
    let (mut gzip, mut loose) = (Gzip::new(), Vec::new());
    list.compress(&mut gzip, &mut loose).unwrap();
    gzip.add_text(&loose).unwrap();
    let file = gzip.finish();
    let mut text = Vec::new();
    let mut member = GzDecoder::new(&file[..]);
    member.read_to_end(&mut text).unwrap();
    assert!(member.into_inner().is_empty());
    text
}

/// How many members stand in runs that are compressed.
fn compressed(list: &List) -> usize {
    list.sealed.iter().filter(|run| run.piece.get().is_some()).map(|run| run.members.len()).sum()
}

fn without(list: &List, gone: std::ops::Range<usize>) -> List {
    let left =
        list.members().enumerate().filter(|(at, _)| !gone.contains(at)).map(|(_, member)| member.clone());
    List::new(left.collect()).sharing(list)
}

#[test]
fn a_member_more_leaves_all_that_was_compressed() {
    let base = list(0..1000);
    assert_eq!(compressed(&base), 0);
    by_gzip(&base);
    assert_eq!(compressed(&base), 960);
    let mut next = base.clone();
    for number in 1000..1100 {
        next.roll(0, member(number));
        // Nothing but what was sealed since is left to do.
        assert!(compressed(&next) >= 960, "{number}");
        assert_eq!(by_gzip(&next), text(&next));
        assert!(next.len() - compressed(&next) <= RUN, "{number}");
    }
    assert_eq!(text(&next), text(&list(0..1100)));
    assert_eq!(compressed(&base), 960);
}

#[test]
fn members_that_leave_take_only_their_own_run_along() {
    let base = list(0..1000);
    by_gzip(&base);
    for gone in [0..1, 0..64, 0..500, 100..101, 63..65, 300..700, 959..1000, 0..1000] {
        let next = without(&base, gone.clone());
        // A run is lost where a member of it is, and where nothing follows it any more.
        assert!(compressed(&next) + gone.len() + 3 * RUN >= 1000, "{gone:?}: {}", compressed(&next));
        assert_eq!(by_gzip(&next), text(&next), "{gone:?}");
        assert_eq!(next.len(), 1000 - gone.len());
    }
    // What only looks alike is not taken.
    let mut other: Vec<Bytes> = (0..200).map(member).collect();
    other[5] = Bytes::from_static(b"5");
    let other = List::new(other).sharing(&base);
    assert_eq!(compressed(&other), 128);
    assert_eq!(by_gzip(&other), text(&other));
}

#[test]
fn a_run_dies_with_the_last_list_that_has_it() {
    let base = list(0..200);
    by_gzip(&base);
    let first = Arc::downgrade(&base.sealed[0]);
    let next = without(&base, 150..200);
    drop(base);
    assert!(first.upgrade().is_some());
    let (length, held) = (next.length(), next.compressed_bytes());
    assert!(held > 0 && held * 3 < length, "{held} of {length}");
    drop(next);
    assert!(first.upgrade().is_none());
}

#[derive(Debug, Clone)]
enum Change {
    Add(u64),
    Roll {
        dropped: usize,
    },
    Remove {
        from: usize,
        members: usize,
    },
    /// Another process reads the file.
    Reload,
    Compress,
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (0..100_u64).prop_map(Change::Add),
        1 => (0..150_usize).prop_map(|dropped| Change::Roll { dropped }),
        2 => (0..300_usize, 0..150_usize).prop_map(|(from, members)| Change::Remove { from, members }),
        1 => Just(Change::Reload),
        3 => Just(Change::Compress),
    ]
}

proptest! {
    #[test]
    fn any_run_of_changes_is_written_as_it_is(
        members in 0..300_u64,
        changes in proptest::collection::vec(change(), 1..20),
    ) {
        let mut model: Vec<Bytes> = (0..members).map(member).collect();
        let mut list = List::new(model.clone());
        let mut next = members;
        for change in changes {
            match change {
                Change::Add(more) => for _ in 0..more {
                    list.roll(0, member(next));
                    model.push(member(next));
                    next += 1;
                },
                Change::Roll { dropped } => {
                    list.roll(dropped, member(next));
                    model.drain(..dropped.min(model.len()));
                    model.push(member(next));
                    next += 1;
                }
                Change::Remove { from, members } => {
                    let from = from.min(model.len());
                    let to = (from + members).min(model.len());
                    list = without(&list, from..to);
                    model.drain(from..to);
                }
                Change::Reload => list = List::new(model.clone()).sharing(&list),
                Change::Compress => { by_gzip(&list); }
            }
            prop_assert_eq!(list.len(), model.len());
        }
        let plain = text(&list);
        prop_assert_eq!(&plain[1..plain.len() - 1], &model.join(&b","[..])[..]);
        prop_assert_eq!(by_gzip(&list), plain);
        prop_assert!(list.sealed.is_empty() || !list.tail.is_empty());
        prop_assert!(list.sealed.iter().all(|run| (1..=RUN).contains(&run.members.len())));
    }
}
