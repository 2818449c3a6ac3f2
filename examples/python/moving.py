"""A task whose actions are a choice and numbers at once: drive onto a target and stop there.

A step is one of three things, each of which takes its own number: 0 speeds up by action[1][0], 1 turns by
action[1][1], 2 brakes. Like the task `Moving` of the literature on parameterised actions (Bester et al. 2019).

    cd examples/python && cargo run --release --example gymnasium -- --module moving:make
    python3 examples/python/moving.py    # a driver written by hand, for comparison
"""

import math

import gymnasium
import numpy as np
from gymnasium import spaces

ACCELERATE, TURN, BRAKE = range(3)
RADIUS, STEP_TIME, LIMIT = 0.1, 0.05, 200


class Moving(gymnasium.Env):
    metadata = {"render_modes": ["rgb_array"], "render_fps": round(1 / STEP_TIME)}

    def __init__(self, render_mode=None):
        self.render_mode = render_mode
        low, high = np.array([0, -1], np.float32), np.array([1, 1], np.float32)
        self.action_space = spaces.Tuple([spaces.Discrete(3), spaces.Box(low, high)])
        self.observation_space = spaces.Box(-4, 4, (8,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.target = self.np_random.uniform(-1, 1, (2, 2))
        self.heading, self.speed, self.steps = self.np_random.uniform(-math.pi, math.pi), 0.0, 0
        return self.observation(), {}

    def step(self, action):
        kind, (more, turn) = action
        before = self.distance()
        if kind == ACCELERATE:
            self.speed = min(self.speed + float(more), 1.0)
        elif kind == TURN:
            self.heading += float(turn) * math.pi / 4
        else:
            self.speed = max(self.speed - 0.5, 0.0)
        self.place += self.speed * STEP_TIME * np.array([math.cos(self.heading), math.sin(self.heading)])
        self.steps += 1
        arrived = self.distance() < RADIUS and self.speed == 0
        left = bool(np.abs(self.place).max() > 1.5)
        reward = before - self.distance() - 0.005 + arrived - left
        return self.observation(), reward, arrived or left, self.steps >= LIMIT, {}

    def distance(self):
        return float(np.linalg.norm(self.target - self.place))

    def observation(self):
        """The target is seen from where it looks: ahead, and to its left."""
        cos, sin = math.cos(self.heading), math.sin(self.heading)
        x, y = self.target - self.place
        ahead, left, inside = cos * x + sin * y, cos * y - sin * x, self.distance() < RADIUS
        return np.array([*self.place, cos, sin, self.speed, ahead, left, inside], np.float32)

    def render(self):
        across, down = np.meshgrid(np.linspace(-1.6, 1.6, 160), np.linspace(1.6, -1.6, 160))
        picture = np.full((160, 160, 3), 255, np.uint8)
        nose = self.place + 0.08 * np.array([math.cos(self.heading), math.sin(self.heading)])
        for centre, radius, colour in (
            (self.target, RADIUS, (120, 200, 120)),
            (self.place, 0.06, (60, 90, 180)),
            (nose, 0.03, (20, 30, 60)),
        ):
            picture[(across - centre[0]) ** 2 + (down - centre[1]) ** 2 < radius**2] = colour
        return picture


def make(render_mode=None):
    return Moving(render_mode)


def driven_by_hand(env):
    """Turns to the target, drives at half speed, and brakes on it."""
    ahead, left, inside = env.observation()[5:8]
    bearing = math.atan2(left, ahead)
    turn = min(max(bearing / (math.pi / 4), -1), 1)
    if inside and env.speed > 0:
        return BRAKE, (0, 0)
    if env.speed < 0.5 and (abs(bearing) <= 0.1 or env.speed > 0):
        return ACCELERATE, (0.5, 0)
    return TURN, (0, turn)


if __name__ == "__main__":
    env, returns = make(), []
    for seed in range(20):
        env.reset(seed=seed)
        total, ended = 0.0, False
        while not ended:
            _, reward, terminated, truncated, _ = env.step(driven_by_hand(env))
            total, ended = total + reward, terminated or truncated
        returns.append(total)
    print(f"by hand: mean return {sum(returns) / len(returns):.2f} over {len(returns)} episodes")
