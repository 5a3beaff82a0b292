//! What a component may use up in one call, and the engine's settings that bound it. Invariant: each limit ends the call
//! with an error of a type of its own (or one of wasmtime's traps), so that `trap.rs` can say in words which it was.

use std::num::NonZeroUsize;
use std::time::Duration;

use wasmtime::{Config, ResourceLimiter, Result, Store, WasmBacktraceDetails};

use crate::guest::Guest;

/// Bytes of stack a guest has; JavaScript and Python engines need more than the half MiB that is the default.
pub(crate) const STACK: usize = 1 << 20;
/// Bytes of stack that remain for host functions on top of it.
const HOST_STACK: usize = 1 << 20;
/// Bytes a guest may hand to the host in one call, or answer at its end.
pub(crate) const HANDED: usize = 16 << 20;
/// Elements of all tables: a Python component has about 20,000 functions in its own.
const TABLE_ELEMENTS: usize = 200_000;
/// Core instances, tables and memories: a Rust component has three instances, one made of many libraries some dozens.
const INSTANCES: usize = 200;
const TABLES: usize = 200;
const MEMORIES: usize = 16;
/// Functions shown of a trace.
pub(crate) const FRAMES: usize = 20;

/// Limits of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// bytes of linear memory, all memories together
    pub memory: usize,
    /// of computing without a host call
    pub guest_time: Duration,
    /// host calls
    pub host_calls: u64,
}

/// It computed too long.
#[derive(Debug, thiserror::Error)]
#[error("it computed for more than {} s without calling the host", .0.as_secs_f32())]
pub(crate) struct OutOfTime(pub Duration);

/// It asked for too much memory.
#[derive(Debug, thiserror::Error)]
#[error("it asked for more than {} MiB of memory", .0 >> 20)]
pub(crate) struct OutOfMemory(pub usize);

/// It asked for too large a table.
#[derive(Debug, thiserror::Error)]
#[error("it asked for tables of more than {TABLE_ELEMENTS} elements")]
pub(crate) struct OutOfTable;

/// It called the host too often.
#[derive(Debug, thiserror::Error)]
#[error("it called the host more than {0} times")]
pub(crate) struct TooManyCalls(pub u64);

/// Linear memory and tables of a call, all together. wasmtime's own `StoreLimits` counts each memory for itself.
#[derive(Debug)]
pub(crate) struct Space {
    most: usize,
    bytes: usize,
    elements: usize,
}

impl Space {
    pub(crate) fn new(most: usize) -> Space {
        Space { most, bytes: 0, elements: 0 }
    }
}

impl ResourceLimiter for Space {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            // Over what the component itself declares: the instruction fails, as it may expect.
            return Ok(false);
        }
        self.bytes = self.bytes.saturating_add(desired.saturating_sub(current));
        if self.bytes > self.most { Err(OutOfMemory(self.most).into()) } else { Ok(true) }
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> Result<()> {
        // What was counted was not given: counting it on is on the safe side.
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.elements = self.elements.saturating_add(desired.saturating_sub(current));
        if self.elements > TABLE_ELEMENTS { Err(OutOfTable.into()) } else { Ok(true) }
    }

    fn instances(&self) -> usize {
        INSTANCES
    }
    fn tables(&self) -> usize {
        TABLES
    }
    fn memories(&self) -> usize {
        MEMORIES
    }
}

/// The engine's settings. Whatever compiled code depends on goes into the cache's key by itself.
pub(crate) fn config() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .epoch_interruption(true)
        .max_wasm_stack(STACK)
        .async_stack_size(STACK + HOST_STACK)
        // Names of functions are enough, and DWARF is one more thing of a component's that would have to be parsed.
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .wasm_backtrace_max_frames(NonZeroUsize::new(FRAMES))
        // For places in the source and for native debuggers: a fifth of what would have to be kept and checked at each start.
        .generate_address_map(false)
        .debug_symbols(false)
        // What no toolchain that makes phases needs stays off.
        .wasm_memory64(false)
        .wasm_relaxed_simd(false)
        .wasm_tail_call(false);
    config
}

/// Puts the limits of a call on its store.
pub(crate) fn apply(store: &mut Store<Guest>) {
    store.limiter(|guest| &mut guest.space);
    store.set_hostcall_fuel(HANDED);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|mut store| store.data_mut().tick());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_are_counted_together() {
        let mut space = Space::new(3 << 20);
        assert!(space.memory_growing(0, 1 << 20, None).unwrap());
        assert!(space.memory_growing(0, 1 << 20, None).unwrap());
        assert!(space.memory_growing(1 << 20, 2 << 20, None).unwrap());
        let error = space.memory_growing(1 << 20, (1 << 20) + 65536, None).unwrap_err();
        assert_eq!(error.to_string(), "it asked for more than 3 MiB of memory");
    }

    #[test]
    fn growing_over_its_own_maximum_is_the_components_business() {
        let mut space = Space::new(1 << 20);
        assert!(!space.memory_growing(65536, 2 << 20, Some(65536)).unwrap());
        assert!(!space.table_growing(1, 2, Some(1)).unwrap());
    }

    #[test]
    fn tables_are_counted_together() {
        let mut space = Space::new(0);
        assert!(space.table_growing(0, TABLE_ELEMENTS, None).unwrap());
        assert!(space.table_growing(0, 1, None).is_err());
    }
}
