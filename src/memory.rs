//! One word to the system's allocator.

use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

static ONCE: Once = Once::new();
static LEFT_ALONE: AtomicBool = AtomicBool::new(false);

/// Makes the allocator keep freed memory for the next layer's activations, unless it is to be
/// [left alone](leave_allocator_alone).
///
/// GNU's allocator hands blocks of 128 KiB and more back to the system as soon as they are freed, and takes
/// them anew, page by page, for the next tensor. It raises that limit to the largest block it saw freed, up
/// to 32 MiB: one such block, never touched, is enough. With it the evaluation of a critic takes half the
/// time or less. Elsewhere this does nothing of note.
pub(crate) fn keep_freed_blocks() {
    if !LEFT_ALONE.load(Ordering::Relaxed) {
        ONCE.call_once(|| drop(std::hint::black_box(Vec::<u8>::with_capacity(31 << 20))));
    }
}

/// Leaves the process's memory allocator as it is. Call it before the first learner or agent is made.
///
/// Otherwise the first one makes GNU's allocator keep freed blocks of up to 32 MiB for the whole process, as
/// `MALLOC_MMAP_THRESHOLD_` does: an update then takes half the time or less on a CPU, and memory that the
/// process has freed stays with it longer.
pub fn leave_allocator_alone() {
    LEFT_ALONE.store(true, Ordering::Relaxed);
}
