//! What cannot be had, and what is said of it.

use std::time::Duration;

use mpo::gymnasium::{DmControl, Gymnasium, GymnasiumError};

use crate::python::{says, there, troubles, with_folders};

#[test]
fn without_python() {
    let error = says(
        Gymnasium::options("Pendulum-v1").interpreter("/no/such/python").make(),
        &["/no/such/python", "install Python", "MPO_PYTHON"],
    );
    assert!(matches!(error, GymnasiumError::NoPython { .. }));
}

#[test]
fn options_outside_their_range() {
    says(Gymnasium::options("Pendulum-v1").time_limit(0).make(), &["time_limit is 0", "at least 1"]);
    for limit in [Duration::ZERO, Duration::MAX] {
        says(Gymnasium::options("Pendulum-v1").answer_limit(limit).make(), &["answer_limit is", "7 days"]);
    }
}

#[test]
fn what_is_not_installed_or_does_not_fit() {
    if !there() {
        return;
    }
    says(
        with_folders(Gymnasium::options("Pendulum-v1"), &["missing"]).make(),
        &["No module named 'gymnasium'", "-m pip install \"gymnasium[mujoco]\"", "Traceback"],
    );
    says(
        with_folders(DmControl::options("hopper", "hop"), &["misfit", "stand_ins"]).make(),
        &["flex_vertedge", "-m pip install dm_control \"mujoco<4\"", "Traceback"],
    );
    says(
        with_folders(Gymnasium::module_options("no_such_module:make"), &["stand_ins"]).make(),
        &["No module named 'no_such_module'", "PYTHONPATH"],
    );
    says(troubles("no_such_callable").make(), &["AttributeError", "no_such_callable"]);
    says(troubles("Troubled").argument("colour", "red").make(), &["TypeError", "colour"]);
}

#[test]
fn spaces_that_are_not_served() {
    if !there() {
        return;
    }
    let action = "a Box of floating-point numbers with finite bounds";
    for (callable, words) in [
        ("unbounded", ["the action space is Box([-1.0, -inf], [1.0, 1.0])", action]),
        ("whole_numbers", ["the action space is Box([0], [255])", action]),
        ("empty_range", ["the action space is ActionSpace is (1.0, 1.0)", action]),
        ("one_thing", ["the action space is ActionSpace is [1]", "2 to 16777216"]),
        ("said", ["the action space is Text(8)", action]),
        ("words", ["the observation space is Text(8)", "a fixed number of numbers"]),
        ("several", ["the environment is Troubled", "one environment"]),
        ("Autoreset", ["a wrapper is Autoreset", "reset when asked to"]),
    ] {
        let error = says(troubles(callable).make(), &words);
        assert!(matches!(error, GymnasiumError::Refused { .. }), "{error}");
    }
}

#[test]
fn an_interpreter_that_prints_when_it_starts() {
    if !there() {
        return;
    }
    let options = Gymnasium::module_options("troubles:Troubled");
    with_folders(options, &["noisy", "", "stand_ins"]).make().unwrap();
}
