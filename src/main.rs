//! The `servo` program.

use std::process::ExitCode;

/// With glibc's allocator 10,000 servos take a quarter more memory and processor time: what reading
/// their configuration leaves behind is not given back, and small blocks get scattered.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    servo::cli::main(servo::connectors::bundled())
}
