//! Generates `src/generated/mlxforge.v1.rs` from the schema, without protoc.
//!
//! With `--check` it writes nothing and fails when the committed file is stale.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

const FILES: [&str; 7] = [
    "chat",
    "embedding",
    "generation",
    "model",
    "sampling",
    "tokenizer",
    "usage",
];
const OUTPUT: &str = "mlxforge.v1.rs";

fn main() -> Result<(), Box<dyn Error>> {
    let rust = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let committed = rust.join("src/generated");
    if std::env::args().any(|argument| argument == "--check") {
        let fresh = std::env::temp_dir().join(format!("mlxforge-codegen-{}", std::process::id()));
        fs::create_dir_all(&fresh)?;
        generate(&rust, &fresh)?;
        let same = fs::read(fresh.join(OUTPUT))? == fs::read(committed.join(OUTPUT))?;
        fs::remove_dir_all(&fresh)?;
        return if same {
            Ok(())
        } else {
            Err("stubs/rust/src/generated is stale: run `make proto`".into())
        };
    }
    generate(&rust, &committed)
}

fn generate(rust: &Path, output: &Path) -> Result<(), Box<dyn Error>> {
    let root = rust.join("../../proto");
    let files: Vec<PathBuf> = FILES
        .iter()
        .map(|name| root.join(format!("mlxforge/v1/{name}.proto")))
        .collect();
    let descriptors = protox::compile(files, [root])?;
    tonic_prost_build::configure()
        .build_server(false)
        .build_transport(false)
        .out_dir(output)
        .compile_fds(descriptors)?;
    Ok(())
}
