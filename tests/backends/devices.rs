//! Devices by name.

use mpo::device;
use mpo::devices::{BACKENDS, default_backend};

#[test]
fn each_backend_compiled_in_has_a_first_device() {
    for &name in BACKENDS {
        let first = device(name).unwrap();
        assert_eq!(first, device(&format!("{name}:0")).unwrap());
        assert!(!first.is_autodiff());
    }
    assert_eq!(default_backend(), "flex");
}

#[test]
fn what_is_not_there_is_refused_in_words() {
    let refused = |name: &str| device(name).unwrap_err().to_string();
    assert_eq!(
        refused("tpu"),
        "backend tpu: there is no such backend; there are flex, ndarray, wgpu, vulkan, cuda"
    );
    assert_eq!(refused("flex:7"), "backend flex:7: this machine has 1 device for it, counted from 0");
    for index in ["flex:", "flex:one", "flex:-1", "flex:0:0"] {
        assert_eq!(refused(index), format!("backend {index}: the index has to be a number, as in cuda:1"));
    }
    for name in ["ndarray", "wgpu", "vulkan", "cuda"].into_iter().filter(|name| !BACKENDS.contains(name)) {
        let expected = format!(
            "backend {name}: this build has only {}: enable the feature `{name}`",
            BACKENDS.join(", ")
        );
        assert_eq!(refused(name), expected);
    }
}
