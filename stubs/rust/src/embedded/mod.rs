//! The in-process door: an engine behind libmlxforge, as the service below the generated
//! clients.

mod engine;
mod ffi;
mod find;
mod options;
mod request;

pub(crate) use engine::Engine;
pub use options::EmbedOptions;
