//! Where a processor's time goes: `perf`'s samples of Icecap's runs, told as text by crate, module and function.
//!
//! A release build has symbols and unwind tables but no debug information: functions that the compiler put into
//! their callers count as these.

mod frame;

use std::collections::HashMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::workload::Profiler;
use crate::{BenchError, Result};
use frame::Frame;

/// Lines of each table of the text.
const LINES: usize = 25;

/// Counts of samples, by what they are about.
#[derive(Debug, Default)]
pub struct Profile {
    samples: u64,
    /// The crate that worked, or for which an allocator, a copy or the kernel worked.
    crates: HashMap<String, u64>,
    /// The same by the crate's module.
    modules: HashMap<String, u64>,
    /// The innermost function of Icecap itself.
    ours: HashMap<String, u64>,
    /// The innermost function at all.
    functions: HashMap<String, u64>,
}

impl Profiler {
    /// Reads what the runs left and adds it up.
    ///
    /// # Errors
    /// When `perf` cannot read it, or there are no samples.
    pub fn profile(&self) -> Result<Profile> {
        let mut files: Vec<PathBuf> = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let path = entry?.path();
            files.extend((path.extension().is_some_and(|extension| extension == "data")).then_some(path));
        }
        let mut profile = Profile::default();
        for file in files {
            profile.add(&self.script(&file)?);
        }
        if profile.samples == 0 {
            return Err(BenchError("perf recorded no samples: scripts/setup-profiler says why".to_owned()));
        }
        Ok(profile)
    }

    fn script(&self, file: &Path) -> Result<String> {
        let output = Command::new(&self.perf)
            .args(["script", "--no-inline", "--fields", "ip,sym,dso", "--input"])
            .arg(file)
            .output()
            .map_err(|error| BenchError(format!("cannot start {}: {error}", self.perf.display())))?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            return Err(BenchError(format!("perf script failed ({}):\n{stderr}", output.status)));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Profile {
    /// Adds the samples of a text of `perf script`: a frame a line from the innermost out, an empty line between
    /// samples.
    pub fn add(&mut self, script: &str) {
        for sample in script.split("\n\n") {
            let frames: Vec<Frame> = sample.lines().filter_map(Frame::parse).collect();
            let Some(innermost) = frames.first() else { continue };
            // Who works: not an allocator or a copy, but who called it.
            let worker = frames.iter().find(|frame| !frame.serves()).unwrap_or(innermost);
            let ours = frames.iter().find(|frame| frame.is_ours());
            self.samples += 1;
            count(&mut self.crates, worker.package());
            count(&mut self.modules, &worker.module());
            count(&mut self.ours, ours.map_or("(none of them)", |frame| frame.symbol.as_str()));
            count(&mut self.functions, &innermost.named());
        }
    }

    /// The profile as a person reads it.
    pub fn text(&self) -> String {
        let mut out = format!("{} samples of processor time\n", self.samples);
        for (title, counts) in [
            ("by crate (libc, the standard library and the kernel count as who called them)", &self.crates),
            ("by module, likewise", &self.modules),
            ("by the innermost function of Icecap, whatever it called", &self.ours),
            ("by the innermost function", &self.functions),
        ] {
            let _ = writeln!(out, "\n{title}");
            let mut sorted: Vec<(&String, &u64)> = counts.iter().collect();
            sorted.sort_by(|one, other| other.1.cmp(one.1).then(one.0.cmp(other.0)));
            for (name, count) in sorted.into_iter().take(LINES) {
                let share = *count as f64 * 100.0 / self.samples as f64;
                let _ = writeln!(out, "  {share:5.1} %  {name}");
            }
        }
        out
    }
}

fn count(counts: &mut HashMap<String, u64>, name: &str) {
    match counts.get_mut(name) {
        Some(count) => *count += 1,
        None => {
            counts.insert(name.to_owned(), 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "
\tffffffff82200809 clear_page ([kernel.kallsyms])
\t           98ac9 malloc (/usr/lib/x86_64-linux-gnu/libc.so.6)
\t           153dd <alloc::vec::Vec<u8> as core::clone::Clone>::clone (/x/icecap)
\t           153de parquet::column::writer::GenericColumnWriter<E>::write (/x/icecap)
\t           153df icecap::write::parquet::Open::push (/x/icecap)
\t           153e0 main (/x/icecap)

\t           1a000 ZSTD_compressBlock_doubleFast (/x/icecap)
\t           153de parquet::column::writer::GenericColumnWriter<E>::close (/x/icecap)
\t           153df icecap::write::parquet::Open::finish (/x/icecap)

\t           1a001 ZSTD_compressBlock_doubleFast (/x/icecap)
\t           153df icecap::write::parquet::Open::finish (/x/icecap)

\t           1a001 epoll_wait (/usr/lib/x86_64-linux-gnu/libc.so.6)
";

    #[test]
    fn time_counts_as_of_who_asked_for_it() {
        let mut profile = Profile::default();
        profile.add(SCRIPT);
        let text = profile.text();
        assert!(text.starts_with("4 samples"), "{text}");
        for line in [
            "   50.0 %  zstd",
            "   25.0 %  parquet",
            "   25.0 %  libc",
            "   25.0 %  parquet::column",
            "   50.0 %  icecap::write::parquet::Open::finish",
            "   25.0 %  icecap::write::parquet::Open::push",
            "   25.0 %  (none of them)",
            "   50.0 %  ZSTD_compressBlock_doubleFast",
            "   25.0 %  clear_page (kernel)",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }
}
