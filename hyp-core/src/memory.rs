//! Physical memory: frame records.

pub mod frame;
pub use frame::{FrameState, FrameWord};
