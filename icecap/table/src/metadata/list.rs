//! A list that grows at its end, in runs that are compressed once.
//!
//! Of a list with two thousand members a commit changes the last. Members are sealed into runs; clones of the list
//! share them, and with them what they were compressed to. A run dies with the last list that has it, so nothing
//! piles up beside the documents that are in use.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::gzip::{Gzip, Piece};
use crate::error::Result;

/// Members of a run, at most. Sixty-four snapshots are about 50 kB: what is not sealed yet is compressed by every
/// commit, and a window of deflate (32 kB) hardly finds more in a longer run.
const RUN: usize = 64;

/// The texts of a JSON array's members; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct List {
    sealed: Vec<Arc<Run>>,
    /// What comes after the runs. It is empty only when there are none: each run is followed by a comma.
    tail: Vec<Bytes>,
}

/// Members that stand one after another, the first of them in a list or not, but never the last.
#[derive(Debug)]
struct Run {
    members: Vec<Bytes>,
    /// With a comma after each member.
    length: usize,
    piece: OnceLock<Piece>,
}

impl List {
    /// The list of these members.
    pub(super) fn new(members: Vec<Bytes>) -> Self {
        let mut list = Self::default();
        members.into_iter().for_each(|member| list.push(member));
        list
    }

    /// The same members, with the runs of `known` where they stand in this list.
    pub(super) fn sharing(&self, known: &Self) -> Self {
        let members: Vec<Bytes> = self.members().cloned().collect();
        let runs: HashMap<&Bytes, &Arc<Run>> =
            known.sealed.iter().filter_map(|run| Some((run.members.first()?, run))).collect();
        let mut list = Self::default();
        let mut at = 0;
        while let Some(member) = members.get(at) {
            let rest = &members[at..];
            let run = runs.get(member).filter(|run| rest.len() > run.members.len());
            match run.filter(|run| rest.starts_with(&run.members)) {
                Some(run) => {
                    list.seal(list.tail.len());
                    list.sealed.push(Arc::clone(run));
                    at += run.members.len();
                }
                None => {
                    list.push(member.clone());
                    at += 1;
                }
            }
        }
        list
    }

    fn members(&self) -> impl Iterator<Item = &Bytes> {
        self.sealed.iter().flat_map(|run| &run.members).chain(&self.tail)
    }

    /// How many members it has.
    pub(super) fn len(&self) -> usize {
        self.sealed.iter().map(|run| run.members.len()).sum::<usize>() + self.tail.len()
    }

    /// The length of its text, in bytes.
    pub(super) fn length(&self) -> usize {
        let sealed: usize = self.sealed.iter().map(|run| run.length).sum();
        let tail: usize = self.tail.iter().map(|member| member.len() + 1).sum();
        // The brackets, without a comma after the last member.
        (sealed + tail).saturating_sub(1) + 2
    }

    /// What is held compressed, in bytes.
    pub(super) fn compressed_bytes(&self) -> usize {
        self.sealed.iter().filter_map(|run| run.piece.get()).map(Piece::len).sum()
    }

    /// Drops the first members, and adds one at the end.
    pub(super) fn roll(&mut self, dropped: usize, member: Bytes) {
        if dropped == 0 {
            return self.push(member);
        }
        // A list that loses a member whenever it gets one has no run that lasts.
        let left = self.members().skip(dropped).cloned().chain([member]).collect();
        *self = Self { sealed: Vec::new(), tail: left };
    }

    /// Appends its text.
    pub(super) fn write(&self, text: &mut Vec<u8>) {
        text.push(b'[');
        for run in &self.sealed {
            run.write(text);
        }
        self.write_tail(text);
        text.push(b']');
    }

    /// Adds its text to a file: `loose`, which comes before it, and its runs; the rest is loose again.
    pub(super) fn compress(&self, gzip: &mut Gzip, loose: &mut Vec<u8>) -> Result<()> {
        loose.push(b'[');
        for run in &self.sealed {
            gzip.add_text(loose)?;
            loose.clear();
            let piece = run.piece(gzip)?;
            gzip.add(piece);
        }
        self.write_tail(loose);
        loose.push(b']');
        Ok(())
    }

    fn push(&mut self, member: Bytes) {
        if self.tail.len() >= RUN {
            self.seal(RUN);
        }
        self.tail.push(member);
    }

    /// Makes a run of the first members of the tail; some member has to follow.
    fn seal(&mut self, members: usize) {
        if members > 0 {
            let left = self.tail.split_off(members);
            self.sealed.push(Arc::new(Run::new(std::mem::replace(&mut self.tail, left))));
        }
    }

    fn write_tail(&self, text: &mut Vec<u8>) {
        for (at, member) in self.tail.iter().enumerate() {
            if at > 0 {
                text.push(b',');
            }
            text.extend_from_slice(member);
        }
    }
}

impl Run {
    fn new(members: Vec<Bytes>) -> Self {
        let length = members.iter().map(|member| member.len() + 1).sum();
        Self { members, length, piece: OnceLock::new() }
    }

    fn write(&self, text: &mut Vec<u8>) {
        for member in &self.members {
            text.extend_from_slice(member);
            text.push(b',');
        }
    }

    /// The run compressed, which is done once.
    fn piece(&self, gzip: &mut Gzip) -> Result<&Piece> {
        if let Some(piece) = self.piece.get() {
            return Ok(piece);
        }
        let mut text = Vec::with_capacity(self.length);
        self.write(&mut text);
        let piece = gzip.piece(&text)?;
        Ok(self.piece.get_or_init(|| piece))
    }
}

#[cfg(test)]
mod tests;
