//! vCPUs.

pub mod context;
