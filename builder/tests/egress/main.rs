//! The door, with real clients before it and scripted servers behind it, on loopback alone.

mod bad_input;
mod clients;
mod cold;
mod faults;
mod judge;
mod recording;
mod replaying;
mod signed;
mod support;
