"""Serves one environment to the process that started this one.

Requests come on standard input and answers go to standard output, little-endian; what anything prints goes to
standard error. First comes a description of the environment, in JSON behind MARK, then an answer to each
request. `gymnasium/protocol.rs` is the other side.
"""

import faulthandler
import functools
import importlib
import json
import math
import os
import random
import select
import signal
import struct
import sys
import threading
import time
import traceback

MARK = b"\0mpo serves \0"

ACTIONS = (
    "a Box of floating-point numbers with finite bounds, Discrete, MultiDiscrete, MultiBinary, or a Tuple or Dict"
    " of these"
)


class Refused(Exception):
    """An environment that cannot be served: what of it, what it is, and what is accepted."""


class Gymnasium:
    """An environment with the interface of Gymnasium's."""

    def __init__(self, environment, steps):
        import numpy
        from gymnasium import spaces

        self.numpy, self.environment = numpy, environment
        self.render, self.close = environment.render, environment.close
        if hasattr(environment, "num_envs"):
            raise Refused("the environment", type(environment).__name__, "one environment, not several in one")
        layer = environment
        while layer is not None:
            if type(layer).__name__ in ("Autoreset", "AutoResetWrapper"):
                raise Refused("a wrapper", type(layer).__name__, "environments that are reset when asked to")
            layer = getattr(layer, "env", None)

        space = environment.observation_space
        if isinstance(space, spaces.Box):
            self.flat = lambda observation: observation
        elif space.is_np_flattenable:
            self.flat = functools.partial(spaces.flatten, space)
        else:
            raise Refused("the observation space", space, "spaces of a fixed number of numbers")
        self.size = int(spaces.flatdim(space))

        self.actions = Actions(numpy, spaces, environment.action_space)
        action = self.actions.description

        spec = getattr(environment, "spec", None)
        # Shown to give the same bits after the same seed, in the same object and in a new one.
        shown = ("classic_control", "mujoco", "box2d.lunar_lander")
        entry = spec.entry_point if spec is not None else None
        self.description = {
            "observation_size": self.size,
            "action": action,
            "repeatable": isinstance(entry, str) and entry.startswith(tuple("gymnasium.envs." + name for name in shown)),
            "step_time": 1.0 / float(environment.metadata.get("render_fps") or 25),
            "time_limit": steps or (spec.max_episode_steps if spec is not None else None),
        }

    def reset(self, seed):
        observation, _ = self.environment.reset(seed=seed)
        return self.numbers(observation)

    def step(self, action):
        action = self.actions.read(self.numpy.frombuffer(action, "<f4"))
        observation, reward, terminated, truncated, _ = self.environment.step(action)
        return self.numbers(observation), reward, terminated, truncated

    def numbers(self, observation):
        numbers = self.numpy.asarray(self.flat(observation), dtype="<f4")
        if numbers.size != self.size:
            raise ValueError(f"the observation has {numbers.size} numbers, its space {self.size}")
        return numbers.tobytes()


class Actions:
    """What an action space says, and its actions from numbers: those of all boxes, then one for each choice."""

    def __init__(self, numpy, spaces, space):
        self.numpy, self.low, self.high, self.choices = numpy, [], [], []
        # What makes an action of the numbers and choices that are left, taking its own from their front.
        self.take = self.part(spaces, space, space)
        self.description = {"low": self.low, "high": self.high, "choices": self.choices}

    def read(self, numbers):
        boxes = len(self.low)
        return self.take(list(numbers[:boxes]), [int(choice) for choice in numbers[boxes:]])

    def part(self, spaces, space, whole):
        numpy = self.numpy
        if isinstance(space, spaces.Discrete):
            self.choices.append(int(space.n))
            start = int(space.start)
            return lambda numbers, choices: choices.pop(0) + start
        if isinstance(space, (spaces.MultiDiscrete, spaces.MultiBinary)):
            multi = isinstance(space, spaces.MultiDiscrete)
            counts = numpy.ravel(space.nvec) if multi else numpy.full(int(numpy.prod(space.shape)), 2)
            start = numpy.ravel(getattr(space, "start", 0))
            self.choices.extend(int(count) for count in counts)

            def take(numbers, choices):
                chosen = [choices.pop(0) for _ in counts]
                return (numpy.array(chosen) + start).astype(space.dtype).reshape(space.shape)

            return take
        if isinstance(space, spaces.Box) and numpy.dtype(space.dtype).kind == "f":
            said = bounds(numpy, space.low, space.high, whole)
            self.low.extend(said["low"])
            self.high.extend(said["high"])
            size = len(said["low"])

            def take(numbers, choices):
                own, numbers[:size] = numbers[:size], []
                return numpy.asarray(own, dtype="<f4").astype(space.dtype).reshape(space.shape)

            return take
        if isinstance(space, spaces.Tuple):
            parts = [self.part(spaces, part, whole) for part in space.spaces]
            return lambda numbers, choices: tuple(part(numbers, choices) for part in parts)
        if isinstance(space, spaces.Dict):
            parts = {key: self.part(spaces, part, whole) for key, part in space.spaces.items()}
            return lambda numbers, choices: {key: part(numbers, choices) for key, part in parts.items()}
        raise Refused("the action space", whole, ACTIONS)


class DmControl:
    """A task of dm_control's suite."""

    def __init__(self, domain, task, arguments, steps):
        import numpy
        from dm_control import suite

        self.numpy, self.steps, self.made = numpy, steps, 0
        if steps:
            arguments = {**arguments, "time_limit": math.inf}
        # Some tasks, as lqr's, draw their physics when they are made: let it be the same each time.
        self.environment = suite.load(domain, task, task_kwargs={"random": 0, **arguments})
        self.close = self.environment.close
        limit = steps or getattr(self.environment, "_step_limit", None)
        observation, action = self.environment.observation_spec(), self.environment.action_spec()
        self.size = sum(int(numpy.prod(part.shape)) for part in observation.values())
        self.shape = action.shape
        low, high = (numpy.broadcast_to(end, action.shape) for end in (action.minimum, action.maximum))
        self.description = {
            "observation_size": self.size,
            "action": bounds(numpy, low, high, action),
            "repeatable": True,
            "step_time": float(self.environment.control_timestep()),
            "time_limit": int(limit) if limit and math.isfinite(limit) else None,
        }

    def reset(self, seed):
        self.environment.task.random.seed([seed & 0xFFFFFFFF, seed >> 32])
        self.made = 0
        return self.numbers(self.environment.reset().observation)

    def step(self, action):
        step = self.environment.step(self.numpy.frombuffer(action, "<f4").astype(float).reshape(self.shape))
        self.made += 1
        terminated = step.last() and step.discount == 0.0
        truncated = not terminated and (step.last() or self.made == self.steps)
        return self.numbers(step.observation), step.reward, terminated, truncated

    def numbers(self, observation):
        parts = [self.numpy.ravel(part) for part in observation.values()]
        return self.numpy.concatenate(parts).astype("<f4").tobytes()

    def render(self):
        return self.environment.physics.render(height=240, width=320, camera_id=0)


def bounds(numpy, low, high, space):
    """What is said of an action with these lower and upper ends."""
    low, high = (numpy.asarray(end, dtype="<f4").ravel().tolist() for end in (low, high))
    if not all(map(math.isfinite, low + high)):
        raise Refused("the action space", space, ACTIONS)
    return {"low": low, "high": high, "choices": []}


def make(request):
    """The environment that is asked for."""
    source, arguments, steps = request["source"], request["arguments"], request["time_limit"]
    if source["kind"] == "dm_control":
        served = DmControl(source["domain"], source["task"], arguments, steps)
    else:
        if request["render"]:
            arguments = {**arguments, "render_mode": "rgb_array"}
        if source["kind"] == "gymnasium":
            import gymnasium

            environment = gymnasium.make(source["id"], max_episode_steps=steps, **arguments)
        else:
            module, _, name = source["path"].partition(":")
            environment = getattr(importlib.import_module(module), name)(**arguments)
            if steps:
                from gymnasium.wrappers import TimeLimit

                environment = TimeLimit(environment, steps)
        served = Gymnasium(environment, steps)
    # Whoever writes a callable of their own sees to it that its episodes end.
    if served.description["time_limit"] is None and source["kind"] != "module":
        raise Refused("the time limit", "none of the environment's own", "GymnasiumOptions::time_limit")
    return served


def advice(error, request):
    """What helps against an error, if that is known."""
    install = f'"{sys.executable}" -m pip install '
    missing = (getattr(error, "name", None) or "") if isinstance(error, ImportError) else ""
    if missing.partition(".")[0] in ("gymnasium", "numpy"):
        return "install it: " + install + '"gymnasium[mujoco]"'
    if missing.partition(".")[0] in ("dm_control", "dm_env"):
        return "install it: " + install + 'dm_control "mujoco<4"'
    if isinstance(error, ModuleNotFoundError):
        return "install it, or start where it lies, or name its folder in PYTHONPATH"
    if request["source"]["kind"] == "dm_control" and isinstance(error, AttributeError):
        return "this dm_control does not fit this MuJoCo: " + install + 'dm_control "mujoco<4"'
    if type(error).__name__ in ("NameNotFound", "NamespaceNotFound", "VersionNotFound", "UnregisteredEnv"):
        return f'what there is: "{sys.executable}" -c "import gymnasium; gymnasium.pprint_registry()"'
    return None


def failure(error, request):
    """An error, as the parent is told of it."""
    if isinstance(error, Refused):
        what, found, accepted = error.args
        said = {"refused": what, "found": str(found), "accepted": accepted}
    else:
        said = {
            "exception": traceback.format_exception_only(type(error), error)[-1].strip()[:10000],
            "traceback": "".join(traceback.format_exception(type(error), error, error.__traceback__))[-10000:],
            "advice": advice(error, request),
        }
    said = json.dumps(said).encode()
    return struct.pack("<I", len(said)) + said


def watch(requests, busy):
    """Ends this process when the parent is gone or gives it up, and says where the environment hangs."""
    wait_for_end(requests)
    time.sleep(0.5)
    if busy:
        faulthandler.dump_traceback()
        os._exit(1)


def guard(requests):
    """Starts a process that kills this one and all that it started once the parent is gone, be it that the
    environment never lets go of Python's lock."""
    if os.fork() == 0:
        for end in (1, 2):
            os.close(end)
        wait_for_end(requests)
        time.sleep(5.0)
        # This process is of the group too.
        os.killpg(0, signal.SIGKILL)


def wait_for_end(requests):
    """Waits for the other end of a pipe to be closed."""
    ends = select.poll()
    # No event but that.
    ends.register(requests, 0)
    ends.poll()


def main():
    # The parent gives it a process group of its own.
    if os.name == "posix":
        guard(0)
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    # Out of the reach of whatever reads, prints or forks.
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout.reconfigure(line_buffering=True)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: [os.close(end.fileno()) for end in (requests, answers)])
    # Ctrl-C is the parent's business.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def answer(*parts):
        answers.write(b"".join(parts))
        answers.flush()

    request = json.loads(requests.read(struct.unpack("<I", requests.read(4))[0]))
    busy = [True]
    if os.name == "posix":
        threading.Thread(target=watch, args=(requests.fileno(), busy), daemon=True).start()
    if request["render"] and sys.platform == "linux" and not os.environ.get("DISPLAY"):
        os.environ.setdefault("MUJOCO_GL", "egl")
    try:
        served = make(request)
        description = json.dumps(served.description).encode()
        answer(MARK, b"\0", struct.pack("<I", len(description)), description)
    except BaseException as error:
        answer(MARK, b"\1", failure(error, request))
        return

    import numpy

    action = served.description["action"]
    action_bytes = 4 * (len(action["low"]) + len(action["choices"]))
    while True:
        busy.clear()
        header = requests.read(5)
        if len(header) < 5:
            break
        busy.append(True)
        kind = header[:1]
        try:
            if kind == b"R":
                (seed,) = struct.unpack("<Q", requests.read(8))
                # For environments that draw from the generators of the whole process.
                random.seed(seed)
                numpy.random.seed(seed & 0xFFFFFFFF)
                parts = (served.reset(seed), struct.pack("<dB", 0.0, 0))
            elif kind == b"S":
                observation, reward, terminated, truncated = served.step(requests.read(action_bytes))
                parts = (observation, struct.pack("<dB", reward, bool(terminated) + 2 * bool(truncated)))
            else:
                frame = numpy.asarray(served.render(), dtype=numpy.uint8)
                height, width, _ = frame.shape
                parts = (struct.pack("<II", width, height), frame[:, :, :3].tobytes())
        except BaseException as error:
            answer(b"\1", header[1:], failure(error, request))
            continue
        answer(b"\0", header[1:], *parts)
    served.close()


main()
