//! Where libmlxforge is.

use std::collections::HashMap;
use std::env::{self, consts};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use super::ffi::Library;
use crate::Error;

/// Loads the library named, else found: by `MLXFORGE_LIBRARY`, pkg-config, the `mlxforge`
/// command, or the system's own search. Blocks.
pub(super) fn library(named: Option<PathBuf>) -> Result<&'static Library, Error> {
    let path = named
        .or_else(|| env::var_os("MLXFORGE_LIBRARY").map(PathBuf::from))
        .or_else(|| linked("pkg-config", &["--libs", "mlxforge"]))
        .or_else(|| linked("mlxforge", &["config", "--libs"]))
        .unwrap_or_else(file_name);
    loaded(&path)
}

/// The library of a path. It stays in the process for good, as its Python does.
fn loaded(path: &Path) -> Result<&'static Library, Error> {
    static LOADED: Mutex<Option<HashMap<PathBuf, &'static Library>>> = Mutex::new(None);
    let mut loaded = LOADED
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let loaded = loaded.get_or_insert_default();
    if let Some(library) = loaded.get(path) {
        return Ok(library);
    }
    let library: &'static Library = Box::leak(Box::new(Library::load(path)?));
    loaded.insert(path.to_owned(), library);
    Ok(library)
}

fn file_name() -> PathBuf {
    format!("{}mlxforge{}", consts::DLL_PREFIX, consts::DLL_SUFFIX).into()
}

/// The library in a folder of the linker flags that a command prints.
fn linked(command: &str, arguments: &[&str]) -> Option<PathBuf> {
    let output = Command::new(command).args(arguments).output().ok()?;
    let flags = String::from_utf8(output.stdout).ok()?;
    flags
        .split_whitespace()
        .filter_map(|flag| flag.strip_prefix("-L"))
        .map(|folder| Path::new(folder).join(file_name()))
        .find(|path| path.exists())
}
