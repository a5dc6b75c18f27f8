//! The search on public problems and on a service model, beside random search.
//!
//! `cargo bench -p servo-benches --bench search -- [FILTER] [--seeds N]` prints one line for each problem and ends with
//! status 1 when a bar is missed. Regret is that of the *answer*, by the true function: what an operator would get.

#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot set itself up should stop there"
)]

use servo_search::{
    Dimension, Domain, Options, Outcome, Point, Problem, Search, Space, Trial, Verdict,
};
use std::f64::consts::{E, PI, TAU};
use std::process::ExitCode;
use std::time::Instant;

const BUDGET: usize = 50;

/// A suggestion at 50 and at 500 trials takes at most this long, in milliseconds.
const AT_50: f64 = 20.0;
const AT_500: f64 = 200.0;

/// What one problem needs.
struct Case {
    name: &'static str,
    dimensions: Vec<Dimension>,
    outputs: usize,
    constraints: usize,
    /// Exact metrics of a configuration; `None` when it cannot run.
    truth: fn(&[f64]) -> Option<Vec<f64>>,
    noise: Noise,
    objective: fn(&[f64], &[f64]) -> f64,
    constraint: fn(usize, &[f64], &[f64]) -> f64,
    baseline: Option<Point>,
    optimum: f64,
    /// Regret as a part of the optimum instead of a difference.
    relative: bool,
    /// Largest median regret.
    bar: Option<f64>,
    /// Answers of 20 that may break a constraint.
    broken_bar: usize,
}

enum Noise {
    None,
    Additive(f64),
    Relative(f64),
}

#[derive(Clone, Copy)]
struct Functions {
    outputs: usize,
    constraints: usize,
    objective: fn(&[f64], &[f64]) -> f64,
    constraint: fn(usize, &[f64], &[f64]) -> f64,
}

impl Problem for Functions {
    fn outputs(&self) -> usize {
        self.outputs
    }
    fn objective(&self, point: &[f64], outputs: &[f64]) -> f64 {
        (self.objective)(point, outputs)
    }
    fn constraints(&self) -> usize {
        self.constraints
    }
    fn constraint(&self, index: usize, point: &[f64], outputs: &[f64]) -> f64 {
        (self.constraint)(index, point, outputs)
    }
}

/// What one run amounts to.
struct Run {
    /// `None` when the answer breaks a constraint.
    regret: Option<f64>,
    /// Trials that broke a constraint or failed.
    breaking: usize,
    /// Milliseconds of the last suggestions.
    millis: Vec<f64>,
}

/// Splitmix64: measurement noise, independent of the search's own draws.
struct Generator(u64);

impl Generator {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn gaussian(&mut self) -> f64 {
        let (a, b) = (self.uniform(), self.uniform());
        (-2.0 * (1.0 - a).ln()).sqrt() * (TAU * b).cos()
    }
}

impl Case {
    fn functions(&self) -> Functions {
        Functions {
            outputs: self.outputs,
            constraints: self.constraints,
            objective: self.objective,
            constraint: self.constraint,
        }
    }

    fn measure(&self, point: &[f64], generator: &mut Generator) -> Outcome {
        let Some(values) = (self.truth)(point) else {
            return Outcome::Failed;
        };
        let noisy = values.into_iter().map(|value| match self.noise {
            Noise::None => value,
            Noise::Additive(sd) => value + sd * generator.gaussian(),
            Noise::Relative(sd) => value * (sd * generator.gaussian()).exp(),
        });
        Outcome::Measured(noisy.collect())
    }

    fn holds(&self, point: &[f64]) -> bool {
        let slack = if self.relative { 0.0 } else { 1e-6 };
        (self.truth)(point).is_some_and(|values| {
            (0..self.constraints).all(|index| (self.constraint)(index, point, &values) <= slack)
        })
    }

    fn regret(&self, point: &[f64]) -> Option<f64> {
        let values = (self.truth)(point).filter(|_| self.holds(point))?;
        let difference = (self.objective)(point, &values) - self.optimum;
        Some(if self.relative {
            difference / self.optimum
        } else {
            difference
        })
    }

    fn search(&self, seed: u64) -> Run {
        let space =
            Space::new(self.dimensions.clone()).expect("the benchmark's own space is valid");
        let options = Options {
            seed,
            baseline: self.baseline.clone(),
            ..Options::new(BUDGET)
        };
        let search = Search::new(space, self.functions(), options)
            .expect("the benchmark's own options are valid");
        let mut generator = Generator(seed.wrapping_mul(7919) + 17);
        let mut history: Vec<Trial> = Vec::new();
        let mut millis = Vec::new();
        while history.len() < BUDGET {
            let started = Instant::now();
            let suggestion = search
                .suggest(&history)
                .expect("the benchmark's own history is valid");
            if history.len() + 8 >= BUDGET {
                millis.push(started.elapsed().as_secs_f64() * 1e3);
            }
            let outcome = self.measure(&suggestion.point, &mut generator);
            history.push(Trial {
                point: suggestion.point,
                outcome,
            });
        }
        let breaking = history
            .iter()
            .filter(|trial| !self.holds(&trial.point))
            .count();
        let answer = search.answer(&history);
        let point = match (answer.chosen, &answer.verdict, &self.baseline) {
            (Some(chosen), _, _) => Some(chosen.point),
            (None, Verdict::NoImprovement { .. }, Some(baseline)) => Some(baseline.clone()),
            (None, _, _) => None,
        };
        Run {
            regret: point.and_then(|point| self.regret(&point)),
            breaking,
            millis,
        }
    }

    /// Uniformly random trials; the answer is the best feasible measurement.
    fn random(&self, seed: u64) -> Run {
        let mut generator = Generator(seed.wrapping_mul(104_729) + 5);
        let mut best: Option<(f64, Point)> = None;
        let mut breaking = 0;
        for trial in 0..BUDGET {
            let point: Point = match (&self.baseline, trial) {
                (Some(baseline), 0) => baseline.clone(),
                _ => self
                    .dimensions
                    .iter()
                    .map(|dimension| draw(&dimension.domain, generator.uniform()))
                    .collect(),
            };
            breaking += usize::from(!self.holds(&point));
            if let Outcome::Measured(values) = self.measure(&point, &mut generator) {
                let feasible = (0..self.constraints)
                    .all(|index| (self.constraint)(index, &point, &values) <= 0.0);
                let objective = (self.objective)(&point, &values);
                if feasible && best.as_ref().is_none_or(|(known, _)| objective < *known) {
                    best = Some((objective, point));
                }
            }
        }
        Run {
            regret: best.and_then(|(_, point)| self.regret(&point)),
            breaking,
            millis: Vec::new(),
        }
    }
}

fn draw(domain: &Domain, uniform: f64) -> f64 {
    match *domain {
        Domain::Choice { options } => (uniform * options as f64).floor(),
        Domain::Range {
            min,
            max,
            step: None,
        } => min + uniform * (max - min),
        Domain::Range {
            min,
            max,
            step: Some(step),
        } => {
            let steps = ((max - min) / step + 1e-6).floor();
            min + (uniform * (steps + 1.0)).floor() * step
        }
    }
}

// === The problems ===

fn range(name: &str, min: f64, max: f64, step: Option<f64>) -> Dimension {
    Dimension {
        name: name.into(),
        domain: Domain::Range { min, max, step },
    }
}

fn branin(x: &[f64]) -> f64 {
    let b = 5.1 / (4.0 * PI * PI);
    let c = 5.0 / PI;
    (x[1] - b * x[0] * x[0] + c * x[0] - 6.0).powi(2)
        + 10.0 * (1.0 - 1.0 / (8.0 * PI)) * x[0].cos()
        + 10.0
}

fn hartmann(x: &[f64]) -> f64 {
    const ALPHA: [f64; 4] = [1.0, 1.2, 3.0, 3.2];
    const A: [[f64; 6]; 4] = [
        [10.0, 3.0, 17.0, 3.5, 1.7, 8.0],
        [0.05, 10.0, 17.0, 0.1, 8.0, 14.0],
        [3.0, 3.5, 1.7, 10.0, 17.0, 8.0],
        [17.0, 8.0, 0.05, 10.0, 0.1, 14.0],
    ];
    const P: [[f64; 6]; 4] = [
        [0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886],
        [0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991],
        [0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650],
        [0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381],
    ];
    -(0..4)
        .map(|i| {
            ALPHA[i]
                * (-(0..6)
                    .map(|j| A[i][j] * (x[j] - P[i][j]).powi(2))
                    .sum::<f64>())
                .exp()
        })
        .sum::<f64>()
}

fn ackley(x: &[f64]) -> f64 {
    let n = x.len() as f64;
    let square = x.iter().map(|v| v * v).sum::<f64>() / n;
    let cosine = x.iter().map(|v| (TAU * v).cos()).sum::<f64>() / n;
    -20.0 * (-0.2 * square.sqrt()).exp() - cosine.exp() + 20.0 + E
}

fn gramacy(x: &[f64]) -> Vec<f64> {
    vec![
        x[0] + x[1],
        1.5 - x[0] - 2.0 * x[1] - 0.5 * (TAU * (x[0] * x[0] - 2.0 * x[1])).sin(),
        x[0] * x[0] + x[1] * x[1] - 1.5,
    ]
}

/// A replicated service with garbage collection and a blocking thread pool: the p99 in milliseconds under 700 requests
/// a second, or `None` when the heap is too small to start.
///
/// Settings: cores a replica, memory a replica in MiB, replicas, collector (serial, parallel, concurrent), pool size.
/// Each replica is a processor-sharing CPU behind an M/M/c thread pool; collections steal CPU and add pauses as the
/// heap fills; threads beyond the cores cost context switches.
fn service_p99(x: &[f64]) -> Option<f64> {
    let [cpu, memory, replicas, collector, pool] = [x[0], x[1], x[2], x[3], x[4]];
    let live = 150.0 + 6.0 * pool;
    let pressure = live / memory;
    if pressure > 0.9 {
        return None;
    }
    let (overhead, pause) = match collector as usize {
        0 => (0.05, 90.0 / cpu.min(1.0).sqrt()),
        1 => (0.04, 120.0 / cpu),
        _ => (0.13, 14.0),
    };
    let work = 9.0 * (1.0 + overhead + overhead * 2.0 * pressure / (1.0 - pressure));
    let switching = 1.0 + 0.012 * (pool / cpu - 4.0).max(0.0);
    // One replica may be down for a roll-out.
    let arrivals = 700.0 / (replicas - 1.0) / 1000.0;
    let load = arrivals * work * switching / cpu;
    const TIMEOUT: f64 = 10_000.0;
    if load >= 0.995 {
        return Some(TIMEOUT);
    }
    // One request runs on one core at most, however many there are.
    let alone = work * switching / cpu.min(1.0);
    let on_cpu = alone / (1.0 - load.powf((cpu + 1.0).sqrt()));
    let backend = 25.0;
    let held = on_cpu + backend;
    let offered = arrivals * held;
    if offered >= 0.995 * pool {
        return Some(TIMEOUT);
    }
    // Erlang C by the stable recursion of Erlang B.
    let blocking = (1..=pool as usize).fold(1.0, |b, c| offered * b / (c as f64 + offered * b));
    let waiting = blocking / (1.0 - offered / pool * (1.0 - blocking));
    let wait = if waiting > 0.01 {
        (waiting / 0.01).ln() * held / (pool - offered)
    } else {
        0.0
    };
    let p99 = 25.0 * 1.4 + 3.2 * on_cpu + wait + pause * (0.25 + pressure);
    Some(p99.min(TIMEOUT))
}

/// Dollars an hour.
fn service_cost(x: &[f64]) -> f64 {
    x[2] * (0.04 * x[0] + 0.012 * x[1] / 1024.0 + 0.004)
}

const SLO: f64 = 130.0;

fn service_space() -> Vec<Dimension> {
    vec![
        range("cpu", 0.25, 4.0, Some(0.25)),
        range("memory", 256.0, 4096.0, Some(256.0)),
        range("replicas", 2.0, 10.0, Some(1.0)),
        Dimension {
            name: "collector".into(),
            domain: Domain::Choice { options: 3 },
        },
        range("pool", 4.0, 64.0, Some(4.0)),
    ]
}

/// The cheapest configuration that keeps the SLO, by trying all of them, and the share of those that keep it.
fn service_optimum() -> (Point, f64, f64) {
    let mut best = (Vec::new(), f64::INFINITY);
    let (mut kept, mut all) = (0_u32, 0_u32);
    for cpu in 1..=16 {
        for memory in 1..=16 {
            for replicas in 2..=10 {
                for collector in 0..3 {
                    for pool in 1..=16 {
                        let x = vec![
                            0.25 * f64::from(cpu),
                            256.0 * f64::from(memory),
                            f64::from(replicas),
                            f64::from(collector),
                            4.0 * f64::from(pool),
                        ];
                        all += 1;
                        if service_p99(&x).is_some_and(|p99| p99 <= SLO) {
                            kept += 1;
                            let cost = service_cost(&x);
                            if cost < best.1 {
                                best = (x, cost);
                            }
                        }
                    }
                }
            }
        }
    }
    (best.0, best.1, f64::from(kept) / f64::from(all))
}

fn cases() -> Vec<Case> {
    let learned = |name, dimensions, truth, noise, optimum, bar| Case {
        name,
        dimensions,
        outputs: 1,
        constraints: 0,
        truth,
        noise,
        objective: |_, y| y[0],
        constraint: |_, _, _| 0.0,
        baseline: None,
        optimum,
        relative: false,
        bar,
        broken_bar: 0,
    };
    let branin_space = || vec![range("x", -5.0, 10.0, None), range("y", 0.0, 15.0, None)];
    let box_of = |n: usize, min: f64, max: f64| -> Vec<Dimension> {
        (0..n)
            .map(|index| range(&format!("x{index}"), min, max, None))
            .collect()
    };
    let (_, cheapest, _) = service_optimum();
    vec![
        learned(
            "branin",
            branin_space(),
            |x| Some(vec![branin(x)]),
            Noise::None,
            0.397_887_357_729_739,
            Some(1e-2),
        ),
        learned(
            "branin-noise-5",
            branin_space(),
            |x| Some(vec![branin(x)]),
            Noise::Additive(5.0),
            0.397_887_357_729_739,
            None,
        ),
        learned(
            "hartmann6",
            box_of(6, 0.0, 1.0),
            |x| Some(vec![hartmann(x)]),
            Noise::None,
            -3.322_368_011_415_51,
            Some(0.05),
        ),
        learned(
            "hartmann6-noise-0.3",
            box_of(6, 0.0, 1.0),
            |x| Some(vec![hartmann(x)]),
            Noise::Additive(0.3),
            -3.322_368_011_415_51,
            Some(0.6),
        ),
        learned(
            "ackley5",
            box_of(5, -5.0, 10.0),
            |x| Some(vec![ackley(x)]),
            Noise::None,
            0.0,
            None,
        ),
        learned(
            "ackley5-noise-0.5",
            box_of(5, -5.0, 10.0),
            |x| Some(vec![ackley(x)]),
            Noise::Additive(0.5),
            0.0,
            None,
        ),
        Case {
            name: "gramacy",
            dimensions: box_of(2, 0.0, 1.0),
            outputs: 3,
            constraints: 2,
            truth: |x| Some(gramacy(x)),
            noise: Noise::None,
            objective: |_, y| y[0],
            constraint: |index, _, y| y[1 + index],
            baseline: None,
            optimum: 0.599_788,
            relative: false,
            bar: None,
            broken_bar: 1,
        },
        Case {
            name: "service",
            dimensions: service_space(),
            outputs: 1,
            constraints: 1,
            truth: |x| service_p99(x).map(|p99| vec![p99]),
            noise: Noise::Relative(0.08),
            objective: |x, _| service_cost(x),
            constraint: |_, _, y| y[0] - SLO,
            baseline: Some(vec![3.0, 3072.0, 9.0, 2.0, 32.0]),
            optimum: cheapest,
            relative: true,
            bar: Some(0.12),
            broken_bar: 1,
        },
    ]
}

// === The table ===

fn at(sorted: &[f64], share: f64) -> f64 {
    let index = (share * (sorted.len().max(1) - 1) as f64).round() as usize;
    sorted.get(index).copied().unwrap_or(f64::NAN)
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

/// A broken answer counts as infinitely bad.
fn regrets(runs: &[Run]) -> Vec<f64> {
    sorted(
        runs.iter()
            .map(|run| run.regret.unwrap_or(f64::INFINITY))
            .collect(),
    )
}

fn number(value: f64, relative: bool) -> String {
    match (value.is_finite(), relative) {
        (false, _) => "broken".into(),
        (true, true) => format!("{:+.1} %", 100.0 * value),
        (true, false) if value.abs() < 0.01 => format!("{value:.1e}"),
        (true, false) => format!("{value:.3}"),
    }
}

fn broken(runs: &[Run]) -> usize {
    runs.iter().filter(|run| run.regret.is_none()).count()
}

fn report(case: &Case, seeds: u64) -> bool {
    let started = Instant::now();
    let runs: Vec<Run> = (0..seeds).map(|seed| case.search(seed)).collect();
    let random: Vec<Run> = (0..seeds).map(|seed| case.random(seed)).collect();
    let (own, other) = (regrets(&runs), regrets(&random));
    let millis = sorted(
        runs.iter()
            .flat_map(|run| run.millis.iter().copied())
            .collect(),
    );
    let breaking = |runs: &[Run]| {
        at(
            &sorted(runs.iter().map(|run| run.breaking as f64).collect()),
            0.5,
        )
    };
    let allowed = case.broken_bar as f64 * seeds as f64 / 20.0;
    let median = at(&own, 0.5);
    let passed = case.bar.is_none_or(|bar| median <= bar)
        && broken(&runs) as f64 <= allowed.max(f64::from(u8::from(case.broken_bar > 0)))
        && at(&millis, 0.5) <= AT_50;
    let show = |value| number(value, case.relative);
    println!(
        "{:<20} {:>9} {:>9} {:>9} {:>9}   {:>9} {:>9}   {:>6} {:>6}   {:>7} {:>7}   {:>6.1} {:>6.1}  {:>5.0} s  {}",
        case.name,
        show(at(&own, 0.25)),
        show(median),
        show(at(&own, 0.75)),
        case.bar.map_or_else(|| "-".into(), show),
        show(at(&other, 0.5)),
        show(at(&other, 0.75)),
        broken(&runs),
        broken(&random),
        breaking(&runs),
        breaking(&random),
        at(&millis, 0.5),
        at(&millis, 0.95),
        started.elapsed().as_secs_f64(),
        if passed { "ok" } else { "MISSED" },
    );
    passed
}

/// Where no setting matters, the noise must not be sold as a gain: how many answers claim one.
fn nothing_to_gain(seeds: u64) -> bool {
    let functions = Functions {
        outputs: 1,
        constraints: 0,
        objective: |_, y| y[0],
        constraint: |_, _, _| 0.0,
    };
    let claims = (0..seeds)
        .filter(|seed| {
            let dimensions = (0..4)
                .map(|index| range(&format!("x{index}"), 0.0, 1.0, Some(0.1)))
                .collect();
            let space = Space::new(dimensions).expect("the benchmark's own space is valid");
            let options = Options {
                seed: *seed,
                baseline: Some(vec![0.5; 4]),
                ..Options::new(BUDGET / 2)
            };
            let search = Search::new(space, functions, options)
                .expect("the benchmark's own options are valid");
            let mut generator = Generator(seed.wrapping_mul(31) + 7);
            let mut history: Vec<Trial> = Vec::new();
            while history.len() < BUDGET / 2 {
                let point = search
                    .suggest(&history)
                    .expect("the benchmark's own history is valid")
                    .point;
                let outcome = Outcome::Measured(vec![100.0 * (0.08 * generator.gaussian()).exp()]);
                history.push(Trial { point, outcome });
            }
            search.answer(&history).verdict == Verdict::Improved
        })
        .count();
    let passed = claims as f64 <= (0.1 * seeds as f64).max(1.0);
    println!(
        "nothing to gain, 8 % noise, {} trials: {claims} of {seeds} answers claim a gain (bar 1 in 10) {}",
        BUDGET / 2,
        if passed { "ok" } else { "MISSED" }
    );
    passed
}

/// One suggestion after 500 trials.
fn long_study() -> bool {
    let dimensions = (0..6)
        .map(|index| range(&format!("x{index}"), 0.0, 1.0, None))
        .collect();
    let space = Space::new(dimensions).expect("the benchmark's own space is valid");
    let functions = Functions {
        outputs: 1,
        constraints: 0,
        objective: |_, y| y[0],
        constraint: |_, _, _| 0.0,
    };
    let mut generator = Generator(3);
    let history: Vec<Trial> = (0..500)
        .map(|_| {
            let point: Point = (0..6).map(|_| generator.uniform()).collect();
            let value = hartmann(&point) + 0.3 * generator.gaussian();
            Trial {
                point,
                outcome: Outcome::Measured(vec![value]),
            }
        })
        .collect();
    let search = Search::new(space, functions, Options::new(1000))
        .expect("the benchmark's own options are valid");
    let millis = (480..500)
        .map(|trials| {
            let started = Instant::now();
            std::hint::black_box(
                search
                    .suggest(&history[..trials])
                    .expect("the benchmark's own history is valid"),
            );
            started.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    let median = at(&sorted(millis), 0.5);
    println!(
        "suggestion after 500 trials: {median:.0} ms (bar {AT_500:.0} ms) {}",
        if median <= AT_500 { "ok" } else { "MISSED" }
    );
    median <= AT_500
}

fn main() -> ExitCode {
    let mut filter = None;
    let mut seeds = 20;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--seeds" {
            match arguments.next().map(|value| value.parse()) {
                Some(Ok(count)) if count > 0 => seeds = count,
                _ => {
                    eprintln!("--seeds needs a number above zero");
                    return ExitCode::from(2);
                }
            }
        } else if !argument.starts_with('-') {
            filter = Some(argument);
        }
    }
    let wanted = |name: &str| {
        filter
            .as_ref()
            .is_none_or(|filter| name.contains(filter.as_str()))
    };
    let started = Instant::now();
    println!(
        "{seeds} seeds, {BUDGET} trials; regret of the answer, quartiles; a suggestion at {BUDGET} trials in ms\n"
    );
    println!(
        "{:<20} {:>9} {:>9} {:>9} {:>9}   {:>9} {:>9}   {:>6} {:>6}   {:>7} {:>7}   {:>6} {:>6}",
        "problem",
        "25 %",
        "median",
        "75 %",
        "bar",
        "random",
        "75 %",
        "broken",
        "random",
        "breaking",
        "random",
        "ms",
        "95 %"
    );
    let mut passed = true;
    for case in cases().iter().filter(|case| wanted(case.name)) {
        passed &= report(case, seeds);
    }
    println!();
    if wanted("service") {
        let (point, cost, share) = service_optimum();
        let baseline = cases()
            .into_iter()
            .find_map(|case| case.baseline)
            .unwrap_or_default();
        println!(
            "service: optimum {cost:.3} at {point:?}; {:.0} % of the configurations keep the SLO; baseline {:.3}, p99 {:?} ms",
            100.0 * share,
            service_cost(&baseline),
            service_p99(&baseline).map(f64::round)
        );
    }
    if wanted("nothing") {
        passed &= nothing_to_gain(seeds);
    }
    if wanted("long") {
        passed &= long_study();
    }
    println!("total {:.0} s", started.elapsed().as_secs_f64());
    if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
