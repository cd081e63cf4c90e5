//! One frame of a stack, and whose it is.

/// Crates whose functions work for their caller.
const SERVANTS: [&str; 8] = ["alloc", "core", "std", "hashbrown", "bytes", "libc", "kernel", "c"];

/// C libraries inside the binary, by how their functions' names begin.
const LIBRARIES: [(&str, &str); 8] = [
    ("ZSTD", "zstd"),
    ("HUF_", "zstd"),
    ("FSE_", "zstd"),
    ("HIST_", "zstd"),
    ("XXH", "zstd"),
    ("sqlite3", "sqlite"),
    ("LZ4", "lz4"),
    ("ring_core", "ring"),
];

/// A function on the stack.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Its name, demangled.
    pub symbol: String,
    /// The crate and the modules that it is in, from the outside in; for C the library.
    path: Vec<String>,
}

impl Frame {
    /// A line of `perf script`: `ADDRESS SYMBOL (FILE)`.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let (_, rest) = line.trim().split_once(' ')?;
        let (symbol, file) = rest.rsplit_once(" (")?;
        let symbol = symbol.trim();
        let path = if file.starts_with('[') {
            vec!["kernel".to_owned()]
        } else if file.contains(".so") {
            vec!["libc".to_owned()]
        } else if symbol.contains("::") {
            modules(symbol)
        } else {
            let library = LIBRARIES.iter().find(|(prefix, _)| symbol.starts_with(prefix));
            vec![library.map_or("c", |(_, library)| library).to_owned()]
        };
        Some(Self { symbol: symbol.to_owned(), path })
    }

    /// The crate, or the C library.
    pub(super) fn package(&self) -> &str {
        self.path.first().map_or("unknown", String::as_str)
    }

    /// The crate and its module.
    pub(super) fn module(&self) -> String {
        self.path.iter().take(2).map(String::as_str).collect::<Vec<_>>().join("::")
    }

    /// Whether it works for its caller, whoever that is.
    pub(super) fn serves(&self) -> bool {
        SERVANTS.contains(&self.package())
    }

    /// Whether it is Icecap's own.
    pub(super) fn is_ours(&self) -> bool {
        self.package() == "icecap" || self.package().starts_with("icecap_")
    }

    /// The symbol, with where it is when its name does not tell.
    pub(super) fn named(&self) -> String {
        match self.package() {
            place @ ("kernel" | "libc") => format!("{} ({place})", self.symbol),
            _ => self.symbol.clone(),
        }
    }
}

/// Crate and modules of a Rust symbol, without the function: `<a::b::C<T> as d::E>::f` is in `a::b`, and a type
/// without a crate (`<&T as d::E>::f`) leaves it to the trait.
fn modules(symbol: &str) -> Vec<String> {
    let begin = symbol.trim_start_matches(['<', '&', '*', '[', '(', ' ']);
    let begin = ["mut ", "const ", "dyn "].iter().fold(begin, |rest, word| rest.trim_start_matches(word));
    let path: String = begin.chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | ':')).collect();
    let mut parts: Vec<String> =
        path.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect();
    if parts.len() < 2 {
        return match begin.split_once(" as ") {
            Some((_, of_trait)) => modules(of_trait),
            None => vec!["core".to_owned()],
        };
    }
    // The last part is the function or the type, and a type stands before its method.
    parts.pop();
    while parts.len() > 1 && parts.last().is_some_and(|part| part.starts_with(char::is_uppercase)) {
        parts.pop();
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crate_is_found_in_every_form_of_a_symbol() {
        for (symbol, module) in [
            ("parquet::column::writer::GenericColumnWriter<E>::write", "parquet::column"),
            ("<icecap::scan::reader::Stream as futures_core::stream::Stream>::poll_next", "icecap::scan"),
            ("<alloc::vec::Vec<T> as core::clone::Clone>::clone", "alloc::vec"),
            ("<&mut T as arrow_array::builder::Builder>::finish", "arrow_array::builder"),
            ("icecap_table::location::validate", "icecap_table::location"),
            ("icecap::run", "icecap"),
            ("<dyn datafusion_physical_plan::ExecutionPlan>::execute", "datafusion_physical_plan"),
            ("<T as Into>::into", "core"),
        ] {
            let frame = Frame::parse(&format!("\t  1a2b {symbol} (/x/icecap)")).unwrap();
            assert_eq!((frame.module().as_str(), frame.symbol.as_str()), (module, symbol));
        }
    }

    #[test]
    fn what_has_no_crate_is_named_by_its_file() {
        let package = |line: &str| Frame::parse(line).unwrap().package().to_owned();
        assert_eq!(package(" 1 memcpy (/usr/lib/libc.so.6)"), "libc");
        assert_eq!(package(" ffff page_fault ([kernel.kallsyms])"), "kernel");
        assert_eq!(package(" 1 sqlite3VdbeExec (/x/icecap)"), "sqlite");
        assert_eq!(package(" 1 balance (/x/icecap)"), "c");
        assert_eq!(Frame::parse(""), None);
    }
}
