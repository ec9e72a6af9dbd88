//! A layer's tar: all members and their contents are read.
#![no_main]

use carafe_layers::tar_reader::TarReader;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut tar = TarReader::new(bytes);
    while let Ok(Some(member)) = tar.next_member() {
        let mut read = 0;
        while let Ok(chunk) = tar.chunk() {
            let length = chunk.len();
            if length == 0 {
                break;
            }
            read += length as u64;
            tar.consume(length);
        }
        assert!(read <= member.size);
    }
});
