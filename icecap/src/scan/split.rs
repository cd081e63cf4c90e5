//! Cuts data files into slices, so that one large file keeps every core busy.
//!
//! A slice is a range of bytes; it holds the row groups that begin in it. Any cutting is therefore right,
//! and cutting at the row groups' own offsets is balanced too.

use std::cmp::Reverse;

use super::message::{DataFile, FileSlice};

/// No slice is cut smaller than this: opening one costs a footer read.
const MIN_SLICE_BYTES: u64 = 8 << 20;
/// No slice need be larger.
const MAX_SLICE_BYTES: u64 = 128 << 20;
/// Into how many slices what is left of a scan would be cut for each partition; the next slice is one of them. Slices are
/// taken by whoever is free: the less is left, the smaller they have to be, so that all end together (guided
/// self-scheduling, Polychronopoulos and Kuck 1987).
const SLICES_PER_PARTITION: u64 = 4;

/// The slices of `files`, cut for `partitions` readers. `offsets` gives each file's row-group offsets.
pub(crate) fn slices(files: &[DataFile], offsets: &[Vec<i64>], partitions: usize) -> Vec<FileSlice> {
    let mut left: u64 = files.iter().map(|file| file.file_size_bytes).sum();
    let shares = SLICES_PER_PARTITION * partitions.max(1) as u64;
    let mut slices = Vec::with_capacity(files.len());
    for (at, file) in files.iter().enumerate() {
        let known = offsets.get(at).map_or(&[][..], Vec::as_slice);
        let mut start = 0;
        for cut in cuts(file.file_size_bytes, known, left, shares) {
            slices.push(FileSlice { file: at, start, end: Some(cut) });
            start = cut;
        }
        slices.push(FileSlice { file: at, start, end: None });
        left = left.saturating_sub(file.file_size_bytes);
    }
    slices
}

/// Where to cut a file, when it and the files after it have `left` bytes: each piece has at least a share of what is
/// left when it begins, the last at least the least size.
fn cuts(size: u64, offsets: &[i64], left: u64, shares: u64) -> Vec<u64> {
    let aim = |start: u64| (left.saturating_sub(start) / shares).clamp(MIN_SLICE_BYTES, MAX_SLICE_BYTES);
    let mut known: Vec<u64> =
        offsets.iter().filter_map(|at| u64::try_from(*at).ok()).filter(|at| *at > 0 && *at < size).collect();
    known.sort_unstable();
    known.dedup();
    let mut cuts = Vec::new();
    let mut start = 0;
    if known.is_empty() {
        while size - start >= 2 * aim(start) {
            start += aim(start);
            cuts.push(start);
        }
        return cuts;
    }
    for at in known {
        if at - start >= aim(start) && size - at >= MIN_SLICE_BYTES {
            cuts.push(at);
            start = at;
        }
    }
    cuts
}

/// Slices in the groups that a scan of `partitions` partitions is given. Its streams take them as from one queue, group
/// after group: the largest come first, so that little is left when one stream finds no more.
pub(crate) fn queue(slices: &[FileSlice], files: &[DataFile], partitions: usize) -> Vec<Vec<FileSlice>> {
    let mut order = slices.to_vec();
    order.sort_by_key(|slice| Reverse(size(slice, files)));
    let partitions = partitions.max(1);
    let bound = |group: usize| group * order.len() / partitions;
    (0..partitions).map(|group| order[bound(group)..bound(group + 1)].to_vec()).collect()
}

fn size(slice: &FileSlice, files: &[DataFile]) -> u64 {
    let whole = files.get(slice.file).map_or(0, |file| file.file_size_bytes);
    slice.end.unwrap_or(whole).saturating_sub(slice.start)
}

/// Deals slices to `partitions` readers, the largest first to whoever has least.
pub(crate) fn deal(slices: &[FileSlice], files: &[DataFile], partitions: usize) -> Vec<Vec<FileSlice>> {
    let mut order: Vec<&FileSlice> = slices.iter().collect();
    order.sort_by_key(|slice| Reverse(size(slice, files)));
    let mut groups = vec![(0_u64, Vec::new()); partitions.max(1)];
    for slice in order {
        if let Some(least) = groups.iter_mut().min_by_key(|(bytes, _)| *bytes) {
            least.0 += size(slice, files).max(1);
            least.1.push(slice.clone());
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

/// The files that slices are of, in order, and the slices as those of these files alone.
pub(crate) fn of_part(own: &[FileSlice]) -> (Vec<usize>, Vec<FileSlice>) {
    let mut files: Vec<usize> = own.iter().map(|slice| slice.file).collect();
    files.sort_unstable();
    files.dedup();
    let place = |file: usize| files.binary_search(&file).unwrap_or_default();
    let slices = own.iter().map(|slice| FileSlice { file: place(slice.file), ..slice.clone() }).collect();
    (files, slices)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::scan::message::DataFile;

    fn file(size: u64) -> DataFile {
        DataFile { file_size_bytes: size, ..DataFile::default() }
    }

    #[test]
    fn one_large_file_is_cut_at_its_row_groups() {
        let mib = 1 << 20;
        let offsets = vec![(0..10).map(|n| 4 + n * 16 * mib as i64).collect::<Vec<_>>()];
        let cut = slices(&[file(160 * mib)], &offsets, 2);
        let starts: Vec<u64> = cut.iter().map(|s| s.start).collect();
        let expected: Vec<u64> = [32, 48, 64, 80, 96, 112, 128, 144].map(|n| 4 + n * mib).into();
        assert_eq!((starts[0], &starts[1..]), (0, &expected[..]));
        assert_eq!(cut.last().unwrap().end, None);
    }

    /// Readers that take the next slice whenever they are free.
    fn ends(slices: &[FileSlice], size: u64, readers: usize) -> Vec<u64> {
        let mut busy = vec![0; readers];
        for slice in slices {
            let free = busy.iter_mut().min().unwrap();
            *free += slice.end.unwrap_or(size) - slice.start;
        }
        busy
    }

    #[test]
    fn readers_that_take_slices_as_they_can_end_together() {
        let mib = 1 << 20;
        for (size, group, readers) in
            [(196, 4, 2), (1000, 5, 2), (1000, 5, 7), (4000, 32, 3), (50_000, 100, 16)]
        {
            let size = size * mib;
            let offsets: Vec<i64> = (0..size / (group * mib)).map(|n| 4 + (n * group * mib) as i64).collect();
            for offsets in [offsets, Vec::new()] {
                let cut = slices(&[file(size)], &[offsets], readers);
                let queue = queue(&cut, &[file(size)], readers);
                assert!(queue.iter().all(|group| !group.is_empty()));
                let ends = ends(&queue.concat(), size, readers);
                let apart = ends.iter().max().unwrap() - ends.iter().min().unwrap();
                // The last slices have up to twice the least size, and a row group.
                assert!(apart <= 2 * MIN_SLICE_BYTES + group * mib, "{size} {readers}: {ends:?}");
                assert!(cut.len() as u64 <= size / MIN_SLICE_BYTES);
            }
        }
    }

    /// A table as one statement of two writers leaves it.
    #[test]
    fn files_of_few_row_groups_are_shared_too() {
        let mib = 1 << 20;
        let files = [file(84 * mib), file(62 * mib)];
        let offsets = [vec![4, 25, 50, 75].into_iter(), vec![4, 25, 50].into_iter()]
            .map(|groups| groups.map(|at: i64| if at > 4 { at << 20 } else { at }).collect::<Vec<_>>());
        let cut = slices(&files, &offsets, 2);
        assert_eq!(cut.len(), 7);
        let mut busy = [0_u64; 2];
        for slice in queue(&cut, &files, 2).concat() {
            *busy.iter_mut().min().unwrap() += super::size(&slice, &files);
        }
        assert!(busy[0].abs_diff(busy[1]) <= 12 * mib, "{busy:?}");
    }

    #[test]
    fn small_files_stay_whole() {
        let cut = slices(&[file(1 << 20), file(2 << 20)], &[vec![4, 500_000], vec![]], 8);
        assert_eq!(cut.len(), 2);
        assert!(cut.iter().all(|s| s.start == 0 && s.end.is_none()));
    }

    #[test]
    fn dealing_balances_bytes() {
        let files: Vec<_> = [50, 40, 30, 20, 10].into_iter().map(file).collect();
        let all = slices(&files, &[], 2);
        let dealt = deal(&all, &files, 2);
        let bytes: Vec<u64> =
            dealt.iter().map(|g| g.iter().map(|s| files[s.file].file_size_bytes).sum()).collect();
        assert_eq!(bytes, [80, 70]);
    }

    proptest! {
        #[test]
        fn every_offset_is_in_exactly_one_slice(
            size in 1_u64..1 << 34,
            offsets in prop::collection::vec(-5_i64..1 << 34, 0..40),
            partitions in 1_usize..64,
            probe in 0_u64..1 << 34,
        ) {
            let cut = slices(&[file(size)], &[offsets], partitions);
            let holding = cut.iter().filter(|s| probe >= s.start && s.end.is_none_or(|end| probe < end)).count();
            prop_assert_eq!(holding, 1);
        }
    }
}
