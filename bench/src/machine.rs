//! What the figures were measured on and with.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde::Serialize;

/// The machine, as far as it explains figures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// The processor's own name.
    pub cpu: String,
    /// Cores that the bench may use.
    pub cores: usize,
    /// Memory of the machine.
    pub memory_bytes: u64,
    /// The operating system's kernel.
    pub kernel: String,
}

impl Machine {
    /// This machine; what cannot be found out is `unknown` or 0.
    pub fn here() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Self {
            cpu: field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".to_owned()),
            cores: std::thread::available_parallelism().map_or(0, std::num::NonZeroUsize::get),
            memory_bytes: field(&read("/proc/meminfo"), "MemTotal").map_or(0, |text| kilobytes(&text)),
            kernel: Some(read("/proc/sys/kernel/osrelease").trim().to_owned())
                .filter(|text| !text.is_empty())
                .unwrap_or_else(|| "unknown".to_owned()),
        }
    }
}

fn field(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    })
}

fn kilobytes(text: &str) -> u64 {
    text.split_whitespace().next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// The commit that is checked out, with `-dirty` when files differ from it; `unknown` outside a repository.
pub fn commit_id(folder: &Path) -> String {
    let git = |args: &[&str]| {
        let output = Command::new("git").arg("-C").arg(folder).args(args).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    match (git(&["rev-parse", "HEAD"]), git(&["status", "--porcelain", "--untracked-files=no"])) {
        (Some(id), Some(changes)) if changes.is_empty() => id,
        (Some(id), _) => format!("{id}-dirty"),
        _ => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "model\t\t: 85\nmodel name\t: Some CPU @ 2 GHz\nMemTotal:       16315488 kB\n";
        assert_eq!(field(text, "model name").as_deref(), Some("Some CPU @ 2 GHz"));
        assert_eq!(kilobytes(&field(text, "MemTotal").unwrap()), 16_315_488 * 1024);
        assert_eq!(field(text, "flags"), None);
    }
}
