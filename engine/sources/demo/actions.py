"""The actions: a function each, from a source of variety to a `Motion`.

Right-handed; `engine.sources.demo.generation` mirrors half of them and varies tempo, size and every
angle, so that only what differs in kind is written here. Angles in degrees, times in seconds.
"""

from __future__ import annotations

from collections.abc import Callable

from engine.sources.demo.camera import Rng
from engine.sources.demo.motion import Motion, Pose, arm, arms, leg, legs, mirrored, trunk


def _pose(*parts: Pose) -> Pose:
    """Parts put together; later ones win."""
    return {name: value for part in parts for name, value in part.items()}


def _one_of(r: Rng, *choices: Pose) -> Pose:
    return choices[r.randint(len(choices))]


def _gait(period: float, *half: Pose) -> Motion:
    """Poses of half a step cycle, evenly spaced; the other half is their mirror image."""
    poses = [*half, *map(mirrored, half)]
    return Motion([period * i / len(poses) for i in range(len(poses))], poses, period)


def _repeated(r: Rng, motion: Motion, pause: float) -> Motion:
    """Half of the time again and again, with a pause between."""
    return Motion(motion.times, motion.poses, motion.length + pause) if r.rand() < 0.5 else motion


SEATED = _pose(legs(88, 88, 8), trunk(lean=-4))


def _stance(r: Rng) -> Pose:
    """How somebody is while only the arms matter: standing, a foot ahead, or seated."""
    return _one_of(r, {}, {}, _pose(leg("left", 14), leg("right", -8)), legs(4, 8, 12), SEATED)


def _hands(r: Rng) -> Pose:
    """What arms do while only the legs matter: hang, folded, carrying, at the face, in pockets."""
    return _one_of(
        r,
        {},
        arms(28, -12, 105, -55),
        arms(22, 10, 85),
        arm("right", 35, 0, 140),
        arms(-12, 40, 45),
        _pose(arm("left", 20, 15, 95), arm("right", 5, 40, 15)),
        _pose(arm("left", 60, 20, 110), arm("right", 25, 30, 60)),
    )


def walk(r: Rng) -> Motion:
    lean, swing = trunk(lean=r.uniform(0, 8), bend=3), r.uniform(10, 30)
    contact = _pose(
        lean,
        trunk(twist=5),
        leg("right", 26),
        leg("left", -20, 14),
        arm("left", swing, elbow=25),
        arm("right", -swing, elbow=12),
    )
    passing = _pose(lean, leg("right", 2), leg("left", 18, 58), arms(0, elbow=18))
    if r.rand() < 0.4:
        carrying = _hands(r)
        return _gait(r.uniform(0.95, 1.4), _pose(contact, carrying), _pose(passing, carrying))
    return _gait(r.uniform(0.95, 1.3), contact, passing)


def run(r: Rng) -> Motion:
    lean, swing, bent = trunk(lean=r.uniform(6, 16), bend=5), r.uniform(35, 60), r.uniform(75, 105)
    flight = _pose(
        lean,
        trunk(lift=0.07, twist=9),
        leg("right", 50, 35),
        leg("left", -25, 55),
        arm("left", swing, elbow=bent),
        arm("right", -swing, elbow=bent),
    )
    stance = _pose(
        lean, trunk(twist=2), leg("right", 5, 28), leg("left", 40, 115), arms(0, elbow=bent)
    )
    return _gait(r.uniform(0.6, 0.8), flight, stance)


def jump(r: Rng) -> Motion:
    height, ahead = r.uniform(0.25, 0.55), r.choice([0.0, r.uniform(0.6, 1.6)])
    up = r.uniform(90, 170)
    crouch = _pose(trunk(lean=38), legs(85, 95), arms(-35, elbow=20))
    poses = [
        _pose(trunk(lean=4)),
        crouch,
        _pose(trunk(lean=6, lift=0.06, ahead=0.1 * ahead), legs(0, 6), arms(up, 15, 20)),
        _pose(trunk(lean=14, lift=height, ahead=0.55 * ahead), legs(48, 65), arms(0.8 * up, 20)),
        _pose(trunk(lean=22, lift=0.02, ahead=ahead), legs(58, 50), arms(60, 20, 25)),
        _pose(trunk(lean=34, ahead=ahead), legs(80, 88), arms(25, 25, 30)),
        _pose(trunk(lean=4, ahead=ahead)),
    ]
    motion = Motion([0, 0.4, 0.62, 0.86, 1.08, 1.25, 1.7], poses)
    return _repeated(r, motion, 0.1) if ahead == 0 else motion


def sit(r: Rng) -> Motion:
    hands = _one_of(r, arms(32, 15, 55), arms(20, 40, 30), arms(45, 0, 80), _hands(r))
    poses = [
        _hands(r),
        _pose(trunk(lean=32, bend=12), legs(70, 55, 7), arms(25, 20, 25)),
        _pose(trunk(lean=24, bend=8), legs(100, 86, 8), hands),
        _pose(SEATED, hands),
    ]
    return Motion([0, 0.55, 1.0, 1.4], poses)


def stand(r: Rng) -> Motion:
    down = sit(r)
    return Motion([0, 0.45, 0.9, 1.4], list(reversed(down.poses)))


def turn(r: Rng) -> Motion:
    angle, steps, hands = r.uniform(100, 300), r.randint(3, 6), _hands(r)
    poses: list[Pose] = [hands]
    for i in range(1, steps + 1):
        lifted = leg("right" if i % 2 else "left", 24, 45) if i < steps else {}
        poses.append(
            _pose(trunk(turn=angle * i / steps, look=12 if i < steps else 0), lifted, hands)
        )
    return Motion([0.38 * i for i in range(steps + 1)], poses)


def pick(r: Rng) -> Motion:
    squat = _pose(trunk(lean=42, bend=25, nod=15), legs(112, 118, 12))
    stoop = _pose(trunk(lean=68, bend=38), legs(72, 18, 6))
    low = _pose(
        _one_of(r, squat, stoop),
        arm("right", 92, 5, 8),
        _one_of(r, arm("left", 85, 5, 8), arm("left", 40, 30, 50)),
    )
    held = _one_of(r, arm("right", 45, 10, 85), arm("right", 15, 20, 40))
    return Motion([0, 0.75, 1.0, 1.7], [{}, low, low, held])


def climb(r: Rng) -> Motion:
    lean = trunk(lean=r.uniform(2, 12), look=r.uniform(-15, 15), nod=-15)
    reach = _pose(
        lean,
        trunk(side=6),
        arm("right", 168, 10, 18),
        arm("left", 95, 15, 95),
        leg("right", 12, 22, 12),
        leg("left", 88, 105, 18),
    )
    middle = _pose(
        lean,
        arm("right", 130, 15, 60),
        arm("left", 125, 15, 70),
        leg("right", 40, 60, 14),
        leg("left", 55, 70, 16),
    )
    return _gait(r.uniform(1.1, 1.9), reach, middle)


def pullup(r: Rng) -> Motion:
    width, crossed = r.uniform(20, 75), legs(r.uniform(0, 35), r.uniform(5, 75), 3)
    low = _pose(arms(172, width, 8), crossed, trunk(nod=-10))
    high = _pose(arms(62, width, 148), crossed, trunk(nod=-20, lean=-6))
    period = r.uniform(1.5, 2.8)
    return Motion([0, 0.4 * period, 0.55 * period], [low, high, high], period, hanging=True)


def pushup(r: Rng) -> Motion:
    feet = legs(0, 2, 5)
    up = _pose(trunk(lean=66, nod=-25), arms(64, 0, 4), feet)
    down = _pose(trunk(lean=82, nod=-30), arms(-10, 35, 98), feet)
    return Motion([0, 0.5], [up, down], r.uniform(0.9, 1.7))


def situp(r: Rng) -> Motion:
    bent = r.uniform(35, 62)  # thighs above the floor
    hands = _one_of(r, arms(140, 75, 135), arms(42, -15, 130), arms(70, 0, 10))
    low = _pose(trunk(lean=-90), legs(bent, 95, 6), hands)
    high = _pose(trunk(lean=-22, bend=35), legs(bent + 68, 95, 6), hands)
    period = r.uniform(1.3, 2.4)
    return Motion([0, 0.45 * period, 0.55 * period], [low, high, high], period)


def clap(r: Rng) -> Motion:
    base, raised, wide = _stance(r), r.uniform(25, 75), r.uniform(15, 45)
    bent = r.uniform(75, 110)
    apart = _pose(base, arms(raised, 10 + wide / 2, bent, wide / 2))
    together = _pose(base, arms(raised, -8, bent, -36))
    return Motion([0, 0.5 * (period := r.uniform(0.3, 0.55))], [apart, together], period)


def wave(r: Rng) -> Motion:
    base, raised = _stance(r), r.uniform(60, 150)
    plane, bent, swing = r.uniform(40, 90), r.uniform(40, 115), r.uniform(18, 40)
    other = _one_of(r, {}, {}, arm("left", 30, 10, 70))
    if r.rand() < 0.5:  # from the elbow
        ends = [arm("right", raised, plane, bent, 75 + s * swing) for s in (-1, 1)]
    else:  # from the shoulder
        ends = [arm("right", 130 + s * swing, 85, 25, 60) for s in (-1, 1)]
    if r.rand() < 0.2:
        ends = [_pose(end, mirrored(end)) for end in ends]
    period = r.uniform(0.45, 0.9)
    return Motion([0, period / 2], [_pose(base, other, end) for end in ends], period)


def throw(r: Rng) -> Motion:
    step = r.uniform(15, 35)
    poses = [
        arms(35, 5, 80),
        _pose(
            trunk(twist=-45, lean=-8, side=8),
            arm("right", 105, 115, 100, 85),
            arm("left", 75, 15, 15),
            leg("left", step, 20),
            leg("right", -8, 14),
        ),
        _pose(
            trunk(twist=-10, lean=4),
            arm("right", 118, 70, 85, 60),
            arm("left", 55, 30, 40),
            leg("left", step, 8),
            leg("right", -18, 12),
        ),
        _pose(
            trunk(twist=28, lean=18, bend=8),
            arm("right", 108, 5, 8),
            arm("left", 10, 40, 60),
            leg("left", step + 6, 18),
            leg("right", -28, 28),
        ),
        _pose(
            trunk(twist=42, lean=28, bend=14),
            arm("right", 38, -35, 15),
            arm("left", -15, 20, 40),
            leg("left", step + 8, 26),
            leg("right", -20, 42),
        ),
        _pose(trunk(lean=6)),
    ]
    return _repeated(r, Motion([0, 0.5, 0.66, 0.78, 0.95, 1.5], poses), 0.3)


def catch(r: Rng) -> Motion:
    height, crouch = r.uniform(55, 150), legs(28, 38, 12)
    ready = _pose(crouch, trunk(lean=16), arms(38, 10, 75))
    reach = _pose(legs(12, 18, 12), trunk(lean=8), arms(height, 2, 15))
    hold = _pose(crouch, trunk(lean=22, bend=14), arms(28, -5, 112, -18))
    return _repeated(r, Motion([0, 0.35, 0.6, 0.8, 1.3], [ready, ready, reach, hold, hold]), 0.4)


def pour(r: Rng) -> Motion:
    base = _pose(_stance(r), trunk(nod=r.uniform(15, 35), bend=r.uniform(0, 14)))
    cup = arm("left", r.uniform(20, 45), 10, r.uniform(60, 85), -25)
    held = _pose(base, cup, arm("right", 38, 15, 80, -15))
    tipped = _pose(base, cup, arm("right", r.uniform(58, 82), r.uniform(40, 65), 88, -62))
    return Motion(
        [0, 0.7, 1.5, 2.4, 3.0], [held, tipped, _pose(tipped, trunk(nod=30)), tipped, held]
    )


def dribble(r: Rng) -> Motion:
    base = _pose(trunk(lean=r.uniform(12, 32), bend=8), arm("left", r.uniform(20, 60), 45, 60))
    high, low = arm("right", 30, 30, r.uniform(80, 105)), arm("right", 22, 30, r.uniform(20, 40))
    period = r.uniform(0.4, 0.65)
    if r.rand() < 0.5:
        base = _pose(base, legs(r.uniform(25, 50), r.uniform(35, 60), 14))
        return Motion([0, period / 2], [_pose(base, high), _pose(base, low)], period)
    steps = [
        _pose(leg("right", 32, 30), leg("left", -6, 25)),
        legs(16, 40),
        _pose(leg("left", 32, 30), leg("right", -6, 25)),
        legs(16, 40),
    ]
    poses = [_pose(base, s, high if i % 2 else low) for i, s in enumerate(steps)]
    return Motion([period / 2 * i for i in range(4)], poses, 2 * period)


def punch(r: Rng) -> Motion:
    base = _pose(leg("left", 22, 20, 8), leg("right", -14, 20, 8), trunk(lean=8, bend=8))
    guard = _pose(base, arms(r.uniform(28, 50), 12, 135))
    jab = _pose(guard, arm("left", 88, 0, 6), trunk(twist=-28))
    cross = _pose(guard, arm("right", 88, -6, 6), trunk(twist=38))
    hook = _pose(guard, arm("right", 84, 30, 88, -85), trunk(twist=42))
    second = _one_of(r, cross, hook, jab)
    beat = r.uniform(0.13, 0.22)
    return Motion(
        [0, beat, 2 * beat, 3.2 * beat, 4.2 * beat],
        [guard, jab, guard, second, guard],
        r.uniform(5.2, 7) * beat,
    )


def kick(r: Rng) -> Motion:
    height, spread = r.uniform(60, 110), r.choice([4.0, 30.0])
    counter = _pose(arm("left", 45, 50, 40), arm("right", -20, 40, 40))
    poses = [
        trunk(lean=4),
        _pose(trunk(lean=8, twist=15), leg("right", -26, 72), leg("left", 6, 12), counter),
        _pose(trunk(lean=-2), leg("right", 0.8 * height, 70, spread), leg("left", 0, 14), counter),
        _pose(
            trunk(lean=-16, twist=-12),
            leg("right", height, 4, spread),
            leg("left", -6, 8),
            arm("left", -15, 50, 35),
            arm("right", 40, 50, 40),
        ),
        _pose(trunk(lean=-4), leg("right", 50, 65, spread), leg("left", 0, 12), counter),
        trunk(lean=4),
    ]
    return _repeated(r, Motion([0, 0.3, 0.48, 0.6, 0.8, 1.2], poses), 0.2)


def push(r: Rng) -> Motion:
    lean = r.uniform(18, 40)
    if r.rand() < 0.5:  # something heavy, walking
        held = _pose(trunk(lean=lean, bend=6), arms(r.uniform(60, 80), 0, r.uniform(5, 40)))
        contact = _pose(held, leg("right", 34 + lean / 2, 34), leg("left", -14, 12))
        passing = _pose(held, leg("right", 12, 14), leg("left", 40, 62))
        return _gait(r.uniform(1.1, 1.7), contact, passing)
    drawn = _pose(trunk(lean=6), arms(30, 20, 125), leg("left", 18, 16), leg("right", -8, 12))
    out = _pose(
        trunk(lean=lean), arms(72 + lean / 2, 2, 6), leg("left", 44, 36), leg("right", -6, 10)
    )
    return _repeated(r, Motion([0, 0.4, 0.7, 0.95, 1.5], [{}, drawn, out, out, {}]), 0.3)


def golf(r: Rng) -> Motion:
    base = _pose(trunk(lean=r.uniform(22, 36), nod=12), legs(28, 16, 12))
    address = _pose(base, arms(38, -20, 6))
    back = _pose(base, trunk(twist=-62), arm("left", 108, -42, 12), arm("right", 82, 48, 88, 20))
    through = _pose(base, trunk(twist=22), arm("left", 42, -4, 10), arm("right", 42, -34, 8))
    finish = _pose(
        trunk(lean=2, twist=78),
        legs(2, 8, 10),
        leg("right", -12, 32),
        arm("left", 110, 55, 95, 20),
        arm("right", 118, -42, 30),
    )
    times = [0, 0.4, 1.1, 1.3, 1.42, 1.7, 2.2]
    return Motion(times, [address, address, back, address, through, finish, finish])


def swing_baseball(r: Rng) -> Motion:
    base = _pose(legs(18, 26, 16), trunk(lean=10))
    loaded = _pose(
        base, trunk(twist=-38, look=35), arm("left", 78, -38, 75, 10), arm("right", 68, 62, 122, 10)
    )
    step = _pose(loaded, leg("left", 42, 45, 24))
    contact = _pose(
        base,
        trunk(twist=32),
        arm("left", 72, 2, 18),
        arm("right", 66, -12, 32),
        leg("left", 22, 8, 24),
        leg("right", 2, 40, 18),
    )
    finish = _pose(
        base,
        trunk(twist=82),
        arm("left", 88, 75, 85, 20),
        arm("right", 92, -42, 60),
        leg("left", 14, 6, 24),
        leg("right", -8, 52, 14),
    )
    waiting = _pose(loaded, trunk(lean=6), legs(14, 20, 16))
    return Motion([0, 0.5, 0.8, 1.05, 1.25, 1.7], [waiting, loaded, step, contact, finish, finish])


def fall_floor(r: Rng) -> Motion:
    forward = _pose(trunk(lean=88), legs(0, 12, 8), arms(110, 25, 35))
    backward = _pose(trunk(lean=-88), legs(12, 25, 10), arms(60, 75, 20))
    sideways = _pose(trunk(tilt=86), legs(28, 45, 8), arms(70, 30, 45))
    way = r.randint(3)
    end = (forward, backward, sideways)[way]
    tipping = (trunk(lean=42, bend=10), trunk(lean=-32), trunk(tilt=38))[way]
    poses = [
        _pose(trunk(lean=3)),
        _pose(legs(42, 68, 8), tipping, arms(55, 50, 30)),
        _pose(end, legs(40, 62, 8)),
        end,
    ]
    return Motion([0, 0.35, 0.7, 1.0], poses)


def cartwheel(r: Rng) -> Motion:
    up, wide = arms(168, 60, 6), r.uniform(42, 68)
    poses = [
        _pose(up),
        _pose(up, trunk(tilt=18), leg("right", 20, 15, 35)),
        _pose(up, trunk(tilt=95), leg("right", 8, 12, 12), leg("left", 0, 5, wide)),
        _pose(up, trunk(tilt=180), legs(0, 5, wide)),
        _pose(up, trunk(tilt=265), leg("left", 8, 12, 12), leg("right", 0, 5, wide)),
        _pose(up, trunk(tilt=345), leg("left", 14, 10, 25)),
        _pose(arms(80, 80), trunk(tilt=360)),
    ]
    return Motion([0, 0.35, 0.62, 0.85, 1.08, 1.35, 1.7], poses)


ACTIONS: tuple[Callable[[Rng], Motion], ...] = (
    cartwheel,
    catch,
    clap,
    climb,
    dribble,
    fall_floor,
    golf,
    jump,
    kick,
    pick,
    pour,
    pullup,
    punch,
    push,
    pushup,
    run,
    sit,
    situp,
    stand,
    swing_baseball,
    throw,
    turn,
    walk,
    wave,
)
"""Each is named as its class in HMDB51."""
