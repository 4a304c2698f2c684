//! The signed manifest.
