//! Figures that the suite measures.

use std::path::Path;

use serde_json::Value;

/// Prints a figure, and keeps it as a file where `ICECAP_FIGURES` says.
pub fn report(name: &str, figures: &Value) {
    println!("{name}: {figures}");
    if let Some(folder) = std::env::var_os("ICECAP_FIGURES") {
        std::fs::create_dir_all(&folder).unwrap();
        let text = serde_json::to_string_pretty(figures).unwrap();
        std::fs::write(Path::new(&folder).join(name).with_extension("json"), text + "\n").unwrap();
    }
}
