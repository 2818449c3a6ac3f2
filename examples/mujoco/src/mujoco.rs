//! The few functions of MuJoCo's C interface that stepping takes.

use std::error::Error;
use std::ffi::{CString, c_char, c_int, c_void};
use std::path::Path;
use std::ptr::NonNull;

type Handle = *mut c_void;
type OnData = unsafe extern "C" fn(Handle, Handle);

// The parts of MuJoCo's state, as bits.
const QPOS: c_int = 2;
const QVEL: c_int = 4;
const CTRL: c_int = 64;

/// MuJoCo, loaded at run time.
pub struct Library {
    load_xml: unsafe extern "C" fn(*const c_char, *const c_void, *mut c_char, c_int) -> Handle,
    make_data: unsafe extern "C" fn(Handle) -> Handle,
    delete_model: unsafe extern "C" fn(Handle),
    delete_data: unsafe extern "C" fn(Handle),
    step: OnData,
    state_size: unsafe extern "C" fn(Handle, c_int) -> c_int,
    get_state: unsafe extern "C" fn(Handle, Handle, *mut f64, c_int),
    set_state: unsafe extern "C" fn(Handle, Handle, *const f64, c_int),
    /// Keeps the functions above in memory.
    _library: libloading::Library,
}

impl Library {
    /// Loads the library from its file.
    pub fn load(path: &Path) -> Result<Self, Box<dyn Error>> {
        let failed = |error| format!("MuJoCo's library {} cannot be loaded: {error}", path.display());
        // SAFETY: MuJoCo's library runs nothing on loading that needs our care; the signatures are those of
        // mujoco.h.
        unsafe {
            let library = libloading::Library::new(path).map_err(failed)?;
            Ok(Self {
                load_xml: *library.get(b"mj_loadXML")?,
                make_data: *library.get(b"mj_makeData")?,
                delete_model: *library.get(b"mj_deleteModel")?,
                delete_data: *library.get(b"mj_deleteData")?,
                step: *library.get(b"mj_step")?,
                state_size: *library.get(b"mj_stateSize")?,
                get_state: *library.get(b"mj_getState")?,
                set_state: *library.get(b"mj_setState")?,
                _library: library,
            })
        }
    }

    /// Reads a model and makes room for its simulation.
    pub fn model(&self, path: &Path) -> Result<Model<'_>, Box<dyn Error>> {
        let name = CString::new(path.to_string_lossy().as_bytes())?;
        let mut message = [0u8; 1000];
        // SAFETY: the message has the length that is told; a null VFS means files of the system.
        let model = unsafe {
            (self.load_xml)(
                name.as_ptr(),
                std::ptr::null(),
                message.as_mut_ptr().cast(),
                message.len() as c_int,
            )
        };
        let model = NonNull::new(model).ok_or_else(|| {
            let text = String::from_utf8_lossy(&message);
            format!("{} cannot be read: {}", path.display(), text.trim_end_matches('\0'))
        })?;
        // SAFETY: the model is valid.
        let data = unsafe { (self.make_data)(model.as_ptr()) };
        let Some(data) = NonNull::new(data) else {
            // SAFETY: the model is valid, and no one else has it.
            unsafe { (self.delete_model)(model.as_ptr()) };
            return Err("MuJoCo has no memory for its data".into());
        };
        Ok(Model { library: self, model, data })
    }
}

/// A model and its simulation.
pub struct Model<'a> {
    library: &'a Library,
    model: NonNull<c_void>,
    data: NonNull<c_void>,
}

impl Model<'_> {
    /// The positions and velocities some steps after a state.
    pub fn step(
        &mut self,
        qpos: &[f64],
        qvel: &[f64],
        action: &[f64],
        steps: usize,
    ) -> Result<(Vec<f64>, Vec<f64>), Box<dyn Error>> {
        self.set(QPOS, qpos)?;
        self.set(QVEL, qvel)?;
        self.set(CTRL, action)?;
        for _ in 0..steps {
            // SAFETY: model and data are valid and belong together.
            unsafe { (self.library.step)(self.model.as_ptr(), self.data.as_ptr()) };
        }
        Ok((self.get(QPOS), self.get(QVEL)))
    }

    fn size(&self, part: c_int) -> usize {
        // SAFETY: the model is valid.
        unsafe { (self.library.state_size)(self.model.as_ptr(), part) as usize }
    }

    fn set(&mut self, part: c_int, values: &[f64]) -> Result<(), Box<dyn Error>> {
        let size = self.size(part);
        if values.len() != size {
            return Err(
                format!("MuJoCo's model has {size} values where the task has {}", values.len()).into()
            );
        }
        // SAFETY: the values are as many as MuJoCo reads.
        unsafe { (self.library.set_state)(self.model.as_ptr(), self.data.as_ptr(), values.as_ptr(), part) };
        Ok(())
    }

    fn get(&self, part: c_int) -> Vec<f64> {
        let mut values = vec![0.0; self.size(part)];
        // SAFETY: there is room for as many values as MuJoCo writes.
        unsafe {
            (self.library.get_state)(self.model.as_ptr(), self.data.as_ptr(), values.as_mut_ptr(), part)
        };
        values
    }
}

impl Drop for Model<'_> {
    fn drop(&mut self) {
        // SAFETY: both are valid, and used no more.
        unsafe {
            (self.library.delete_data)(self.data.as_ptr());
            (self.library.delete_model)(self.model.as_ptr());
        }
    }
}
