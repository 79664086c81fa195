//! libmlxforge's functions, loaded at run time: all `unsafe` of this crate is here.
//!
//! What makes the wrappers safe is the library's own contract (`mlxforge.h`): handles are
//! opaque values that it checks, so a stale or foreign one is refused and never followed; any
//! function may be called from any thread; what is passed in is copied before a call returns.
//! What remains for us: prototypes that agree with the header, pointers that are valid for the
//! time of a call, and copying what the library lends before it may take it back.
#![allow(unsafe_code, reason = "calling C")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;
use std::ptr;

use bytes::{BufMut, Bytes, BytesMut};
use libloading::Library as Loaded;
use tonic::{Code, Status};

use crate::Error;

/// What this module was written for; libraries of a higher version have it all.
const ABI_VERSION: u32 = 1;
const PROTOBUF: c_int = 0;
/// Flag and length before a message, in gRPC's framing.
const PREFIX: usize = 5;

/// A handle: never an address, so it may go to any thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
struct Handle(*mut c_void);

// SAFETY: the library takes every handle from every thread, and checks it.
unsafe impl Send for Handle {}
// SAFETY: as above; nothing is reached through the pointer here.
unsafe impl Sync for Handle {}

/// What a call has.
#[derive(Debug)]
pub(super) enum Event {
    /// A response, with the prefix that gRPC frames messages with.
    Message(Bytes),
    /// It has ended well.
    End,
    /// Nothing yet.
    Nothing,
}

macro_rules! functions {
    ($($name:ident: fn($($argument:ty),*) $(-> $result:ty)?;)*) => {
        /// The library's functions.
        #[derive(Debug)]
        pub(super) struct Library {
            $($name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
            /// Keeps the functions where they are.
            _loaded: Loaded,
        }

        impl Library {
            fn bind(loaded: Loaded) -> Result<Self, libloading::Error> {
                // SAFETY: the prototypes below are those of mlxforge.h.
                unsafe {
                    Ok(Self {
                        $($name: *loaded.get(concat!("mlxforge_", stringify!($name)))?,)*
                        _loaded: loaded,
                    })
                }
            }
        }
    };
}

functions! {
    abi_version: fn() -> u32;
    engine_open: fn(*const c_char, *mut Handle) -> Handle;
    engine_close: fn(Handle);
    call_start: fn(Handle, *const c_char, *const u8, usize, c_int, i64, *mut Handle) -> Handle;
    call_next: fn(Handle, i64, *mut *const u8, *mut usize) -> c_int;
    call_send: fn(Handle, *const u8, usize) -> i32;
    call_error: fn(Handle) -> Handle;
    call_cancel: fn(Handle);
    call_free: fn(Handle);
    queue_new: fn() -> Handle;
    queue_add: fn(Handle, Handle, usize);
    queue_next: fn(Handle, i64, *mut usize) -> c_int;
    queue_free: fn(Handle);
    error_code: fn(Handle) -> i32;
    error_message: fn(Handle) -> *const c_char;
    error_details: fn(Handle, *mut usize) -> *const u8;
    error_free: fn(Handle);
}

const NULL: Handle = Handle(ptr::null_mut());

impl Library {
    /// Loads the library from a path, or by its name from where the system looks.
    pub(super) fn load(path: &Path) -> Result<Self, Error> {
        let failed = |why: &dyn std::fmt::Display| {
            Error::Library(format!(
                "cannot load {}: {why}. Install it with `pip install mlxforge`, and name it by \
                 MLXFORGE_LIBRARY when `mlxforge` is not on PATH",
                path.display()
            ))
        };
        // SAFETY: loading libmlxforge only sets up the library itself. That the file is
        // libmlxforge is up to whoever chose it, as with everything on a program's path.
        let loaded = unsafe { Loaded::new(path) }.map_err(|error| failed(&error))?;
        let library = Self::bind(loaded).map_err(|error| failed(&error))?;
        // SAFETY: takes nothing.
        let version = unsafe { (library.abi_version)() };
        if version < ABI_VERSION {
            return Err(failed(&format!(
                "its ABI is {version}, below {ABI_VERSION}"
            )));
        }
        Ok(library)
    }

    /// Opens an engine. Blocks while the models are loaded.
    pub(super) fn open(&'static self, config: &str) -> Result<Engine, Status> {
        let config = text(config)?;
        let mut error = NULL;
        // SAFETY: the text ends with a zero byte, and `error` is a place for a handle.
        let handle = unsafe { (self.engine_open)(config.as_ptr(), &raw mut error) };
        if handle == NULL {
            return Err(self.take_error(error));
        }
        Ok(Engine {
            library: self,
            handle,
        })
    }

    /// A new queue.
    pub(super) fn queue(&'static self) -> Result<Queue, Status> {
        // SAFETY: takes nothing.
        let handle = unsafe { (self.queue_new)() };
        if handle == NULL {
            return Err(Status::resource_exhausted("no memory for a queue"));
        }
        Ok(Queue {
            library: self,
            handle,
        })
    }

    fn take_error(&self, error: Handle) -> Status {
        let status = self.status(error);
        // SAFETY: the error is ours, and is not used after this.
        unsafe { (self.error_free)(error) };
        status
    }

    /// The status that an error stands for; the error stays with its owner.
    fn status(&self, error: Handle) -> Status {
        let mut size = 0;
        // SAFETY: message and details are valid until the error is freed, which is after they
        // are copied here.
        let (code, message, details) = unsafe {
            let code = (self.error_code)(error);
            let message = CStr::from_ptr((self.error_message)(error));
            let details = (self.error_details)(error, &raw mut size);
            (
                code,
                message.to_string_lossy().into_owned(),
                copy(details, size, 0),
            )
        };
        Status::with_details(Code::from_i32(code), message, details)
    }
}

/// An open engine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Engine {
    library: &'static Library,
    handle: Handle,
}

impl Engine {
    /// Starts a call. `None`: a streaming method's first request comes later.
    pub(super) fn start(
        self,
        method: &str,
        request: Option<&[u8]>,
        timeout_ms: i64,
    ) -> Result<Call, Status> {
        let method = text(method)?;
        let (data, size) = parts(request);
        let mut error = NULL;
        // SAFETY: the text ends with a zero byte, `data` has `size` bytes, `error` is a place
        // for a handle; the library copies before it returns.
        let handle = unsafe {
            let (method, error) = (method.as_ptr(), &raw mut error);
            (self.library.call_start)(self.handle, method, data, size, PROTOBUF, timeout_ms, error)
        };
        if handle == NULL {
            return Err(self.library.take_error(error));
        }
        Ok(Call {
            library: self.library,
            handle,
        })
    }

    /// Ends its calls and gives its memory back. Blocks for about one engine step.
    pub(super) fn close(self) {
        // SAFETY: a handle; closing twice is refused.
        unsafe { (self.library.engine_close)(self.handle) };
    }
}

/// A running call. Dropping it frees it, which cancels it while it runs.
#[derive(Debug)]
pub(super) struct Call {
    library: &'static Library,
    handle: Handle,
}

impl Call {
    /// What the call has now; its error, when it has failed. Needs the call to itself, as a
    /// message is lent until the next one is asked for.
    pub(super) fn next(&mut self) -> Result<Event, Status> {
        let (mut message, mut size) = (ptr::null(), 0);
        // SAFETY: places for a pointer and a size; the message is copied before the library may
        // take it back, and the error before the call is freed.
        unsafe {
            match (self.library.call_next)(self.handle, 0, &raw mut message, &raw mut size) {
                1 => Ok(Event::Message(copy(message, size, PREFIX))),
                2 => Ok(Event::End),
                3 => Ok(Event::Nothing),
                _ => {
                    let error = (self.library.call_error)(self.handle);
                    Err(self.library.status(error))
                }
            }
        }
    }

    /// Where further requests go, also from another task.
    pub(super) fn sender(&self) -> Sender {
        Sender {
            library: self.library,
            handle: self.handle,
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // SAFETY: the handle is ours; senders that have it still are refused from now on.
        unsafe { (self.library.call_free)(self.handle) };
    }
}

/// Sends further requests of a call. One whose call is gone is refused.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sender {
    library: &'static Library,
    handle: Handle,
}

impl Sender {
    /// Sends a request; `None`: there are no more.
    pub(super) fn send(self, request: Option<&[u8]>) -> Code {
        let (data, size) = parts(request);
        // SAFETY: `data` has `size` bytes, which are copied.
        Code::from_i32(unsafe { (self.library.call_send)(self.handle, data, size) })
    }

    /// Ends the call: what should be sent cannot be had.
    pub(super) fn cancel(self) {
        // SAFETY: a handle.
        unsafe { (self.library.call_cancel)(self.handle) };
    }
}

/// A completion queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Queue {
    library: &'static Library,
    handle: Handle,
}

impl Queue {
    /// Has the queue tell of a call by a tag other than 0.
    pub(super) fn add(self, call: &Call, tag: usize) {
        // SAFETY: two handles, and a tag that is never followed.
        unsafe { (self.library.queue_add)(self.handle, call.handle, tag) };
    }

    /// Sleeps until a call has something; `None` once the queue is freed.
    pub(super) fn wait(self) -> Option<usize> {
        let mut tag = 0;
        // SAFETY: a place for the tag. Tags are integers that this crate has given out.
        unsafe { (self.library.queue_next)(self.handle, -1, &raw mut tag) };
        (tag != 0).then_some(tag)
    }

    /// Frees the queue; who waits on it returns.
    pub(super) fn free(self) {
        // SAFETY: a handle; freeing twice is refused.
        unsafe { (self.library.queue_free)(self.handle) };
    }
}

fn text(value: &str) -> Result<CString, Status> {
    CString::new(value).map_err(|_| Status::invalid_argument("a text has a zero byte in it"))
}

/// Pointer and size: not NULL for an empty request, which is one all the same.
fn parts(request: Option<&[u8]>) -> (*const u8, usize) {
    request.map_or((ptr::null(), 0), |bytes| (bytes.as_ptr(), bytes.len()))
}

/// Copies bytes of the library's, after `prefix` bytes for a gRPC prefix (0 or 5).
///
/// # Safety
/// `data` must have `size` bytes, or be NULL with a size of 0.
unsafe fn copy(data: *const u8, size: usize, prefix: usize) -> Bytes {
    let mut bytes = BytesMut::with_capacity(prefix + size);
    if prefix == PREFIX {
        bytes.put_u8(0);
        // Messages are bounded far below 4 GiB.
        bytes.put_u32(u32::try_from(size).unwrap_or(u32::MAX));
    }
    if !data.is_null() {
        // SAFETY: the caller's promise.
        bytes.put_slice(unsafe { std::slice::from_raw_parts(data, size) });
    }
    bytes.freeze()
}
