//! The egress proxy between real clients and scripted servers, on loopback only.

mod clients;
mod cold_replay;
mod faults;
mod invalid_input;
mod judge;
mod presigned_urls;
mod recording;
mod replay;
mod support;
