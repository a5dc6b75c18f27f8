//! Whole searches on small problems: what a user of the crate sees.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::{
    Dimension, Domain, Options, Outcome, Point, Problem, Purpose, Search, SearchError, Space,
    Trial, Verdict,
};
use std::collections::HashSet;

type Function = fn(&[f64], &[f64]) -> f64;

struct Functions {
    outputs: usize,
    objective: Function,
    constraints: Vec<Function>,
}

impl Problem for Functions {
    fn outputs(&self) -> usize {
        self.outputs
    }
    fn objective(&self, point: &[f64], outputs: &[f64]) -> f64 {
        (self.objective)(point, outputs)
    }
    fn constraints(&self) -> usize {
        self.constraints.len()
    }
    fn constraint(&self, index: usize, point: &[f64], outputs: &[f64]) -> f64 {
        (self.constraints[index])(point, outputs)
    }
}

fn learned() -> Functions {
    Functions {
        outputs: 1,
        objective: |_, y| y[0],
        constraints: vec![],
    }
}

fn range(name: &str, min: f64, max: f64, step: Option<f64>) -> Dimension {
    Dimension {
        name: name.into(),
        domain: Domain::Range { min, max, step },
    }
}

fn choice(name: &str, options: usize) -> Dimension {
    Dimension {
        name: name.into(),
        domain: Domain::Choice { options },
    }
}

/// Runs a whole study; `None` from the system is a failed trial.
fn study(
    search: &Search<Functions>,
    trials: usize,
    mut system: impl FnMut(&Point) -> Option<f64>,
) -> Vec<(Trial, Purpose)> {
    let mut history: Vec<Trial> = Vec::new();
    let mut purposes = Vec::new();
    while history.len() < trials {
        let suggestion = search.suggest(&history).unwrap();
        let outcome = system(&suggestion.point)
            .map_or(Outcome::Failed, |value| Outcome::Measured(vec![value]));
        purposes.push(suggestion.purpose);
        history.push(Trial {
            point: suggestion.point,
            outcome,
        });
    }
    history.into_iter().zip(purposes).collect()
}

fn trials(study: &[(Trial, Purpose)]) -> Vec<Trial> {
    study.iter().map(|(trial, _)| trial.clone()).collect()
}

/// Repeatable noise: standard normal, by trial.
fn noise() -> impl FnMut() -> f64 {
    let draws = crate::sampling::normal_draws(256, 1);
    let mut next = 0;
    move || {
        // A stride coprime to the length, because neighbours are mirror images.
        next += 101;
        draws[next % 256][0]
    }
}

#[test]
fn finds_the_minimum_of_branin() {
    let branin = |x: &Point| {
        let (b, c) = (
            5.1 / (4.0 * std::f64::consts::PI.powi(2)),
            5.0 / std::f64::consts::PI,
        );
        let bowl = (x[1] - b * x[0] * x[0] + c * x[0] - 6.0).powi(2);
        bowl + 10.0 * (1.0 - 1.0 / (8.0 * std::f64::consts::PI)) * x[0].cos() + 10.0
    };
    for seed in 0..2 {
        let space = Space::new(vec![
            range("x", -5.0, 10.0, None),
            range("y", 0.0, 15.0, None),
        ])
        .unwrap();
        let search = Search::new(
            space,
            learned(),
            Options {
                seed,
                ..Options::new(40)
            },
        )
        .unwrap();
        let answer = search.answer(&trials(&study(&search, 40, |x| Some(branin(x)))));
        assert_eq!(answer.verdict, Verdict::NoBaseline);
        let regret = branin(&answer.chosen.unwrap().point) - 0.397_887;
        assert!(regret < 1e-2, "seed {seed}: {regret}");
    }
}

#[test]
fn the_same_history_gives_the_same_suggestion() {
    let space = || Space::new(vec![range("x", 0.0, 1.0, None), choice("gc", 3)]).unwrap();
    let options = Options {
        seed: 5,
        baseline: Some(vec![0.5, 0.0]),
        ..Options::new(20)
    };
    let search = Search::new(space(), learned(), options.clone()).unwrap();
    let history = trials(&study(&search, 14, |p| {
        Some((p[0] - 0.3).powi(2) + 0.1 * p[1])
    }));
    for length in 0..=history.len() {
        let again = Search::new(space(), learned(), options.clone()).unwrap();
        assert_eq!(
            search.suggest(&history[..length]),
            again.suggest(&history[..length])
        );
    }
    let other = Search::new(space(), learned(), Options { seed: 6, ..options }).unwrap();
    assert_ne!(
        search.suggest(&history[..2]).unwrap().point,
        other.suggest(&history[..2]).unwrap().point
    );
}

#[test]
fn starts_with_the_baseline_and_its_repeat() {
    let space = Space::new(vec![range("x", 0.0, 1.0, None)]).unwrap();
    let options = Options {
        baseline: Some(vec![0.25]),
        ..Options::new(10)
    };
    let search = Search::new(space, learned(), options).unwrap();
    let study = study(&search, 3, |p| Some(p[0]));
    assert_eq!(
        (study[0].1, &study[0].0.point),
        (Purpose::Baseline, &vec![0.25])
    );
    assert_eq!(
        (study[1].1, &study[1].0.point),
        (Purpose::Repeat, &vec![0.25])
    );
    assert_eq!(study[2].1, Purpose::Explore);
}

#[test]
fn a_small_grid_is_used_up_before_anything_is_repeated() {
    let space = Space::new(vec![range("x", 0.0, 3.0, Some(1.0)), choice("gc", 3)]).unwrap();
    let search = Search::new(space, learned(), Options::new(16)).unwrap();
    let study = study(&search, 16, |p| Some(p[0] + p[1]));
    let points = |range: std::ops::Range<usize>| -> HashSet<String> {
        study[range]
            .iter()
            .map(|(trial, _)| format!("{:?}", trial.point))
            .collect()
    };
    assert_eq!(points(0..12).len(), 12, "every point once");
    assert!(
        study[12..]
            .iter()
            .all(|(_, purpose)| *purpose == Purpose::Confirm),
        "then deliberate repeats"
    );
}

#[test]
fn only_confirmations_repeat_a_configuration() {
    let space = Space::new(vec![
        range("x", 1.0, 64.0, Some(1.0)),
        range("y", 0.0, 1.0, Some(0.05)),
    ])
    .unwrap();
    let search = Search::new(space, learned(), Options::new(30)).unwrap();
    let mut noise = noise();
    let study = study(&search, 30, |p| {
        Some((p[0].ln() - 2.0).powi(2) + p[1] + 0.2 * noise())
    });
    let mut seen = HashSet::new();
    for (trial, purpose) in &study {
        let new = seen.insert(format!("{:?}", trial.point));
        assert!(
            new || *purpose == Purpose::Confirm,
            "{purpose:?} repeats {:?}",
            trial.point
        );
    }
    assert!(
        study
            .iter()
            .any(|(_, purpose)| *purpose == Purpose::Confirm)
    );
}

#[test]
fn failures_teach_where_not_to_go() {
    // The cheaper the better, but nothing below 0.4 runs.
    let space = Space::new(vec![
        range("memory", 0.0, 1.0, None),
        range("cpu", 0.0, 1.0, None),
    ])
    .unwrap();
    let problem = Functions {
        outputs: 1,
        objective: |p, _| p[0] + 0.1 * p[1],
        constraints: vec![],
    };
    let options = Options {
        baseline: Some(vec![1.0, 1.0]),
        ..Options::new(30)
    };
    let search = Search::new(space, problem, options).unwrap();
    let study = study(&search, 30, |p| (p[0] >= 0.4).then_some(1.0));
    let failed = study
        .iter()
        .filter(|(trial, _)| trial.outcome == Outcome::Failed)
        .count();
    assert!(failed <= 12, "{failed} of 30 failed");
    let answer = search.answer(&trials(&study));
    let point = answer.chosen.unwrap().point;
    assert!((0.4..0.6).contains(&point[0]), "{point:?}");
}

#[test]
fn a_known_cost_is_lowered_to_where_the_noisy_limit_allows() {
    // Latency 40 / cpu must stay below 50: the cheapest is cpu = 0.8.
    let space = Space::new(vec![range("cpu", 0.2, 4.0, Some(0.1)), choice("gc", 2)]).unwrap();
    let problem = Functions {
        outputs: 1,
        objective: |p, _| p[0],
        constraints: vec![|_, y| y[0] - 50.0],
    };
    let options = Options {
        baseline: Some(vec![3.0, 0.0]),
        ..Options::new(24)
    };
    let search = Search::new(space, problem, options).unwrap();
    let mut noise = noise();
    let study = study(&search, 24, |p| {
        Some(40.0 / p[0] * (1.0 + 0.3 * p[1]) * (0.05 * noise()).exp())
    });
    let answer = search.answer(&trials(&study));
    assert_eq!(answer.verdict, Verdict::Improved);
    let chosen = answer.chosen.unwrap();
    assert!((0.8..=1.1).contains(&chosen.point[0]), "{chosen:?}");
    assert!(chosen.p_feasible >= 0.95 && chosen.observations >= 2);
    let gain = chosen.gain.unwrap();
    assert!((gain.absolute.mean - (3.0 - chosen.point[0])).abs() < 1e-9 && gain.absolute.sd == 0.0);
    assert!((gain.relative.mean - gain.absolute.mean / 3.0).abs() < 1e-9);
}

#[test]
fn where_nothing_can_be_gained_the_baseline_stays() {
    let space = Space::new(vec![range("x", 0.0, 1.0, None), range("y", 0.0, 1.0, None)]).unwrap();
    for seed in 0..3 {
        let options = Options {
            seed,
            baseline: Some(vec![0.5, 0.5]),
            ..Options::new(24)
        };
        let search = Search::new(space.clone(), learned(), options).unwrap();
        let mut noise = noise();
        let flat = study(&search, 24, |_| Some(100.0 + 5.0 * noise()));
        let answer = search.answer(&trials(&flat));
        assert!(
            matches!(answer.verdict, Verdict::NoImprovement { .. }),
            "seed {seed}: {answer:?}"
        );
        assert!(answer.chosen.is_none());
        assert!((answer.baseline.unwrap().mean - 100.0).abs() < 5.0);
    }
}

#[test]
fn a_baseline_that_breaks_the_limit_is_named() {
    let space = Space::new(vec![range("x", 0.0, 1.0, None)]).unwrap();
    let problem = Functions {
        outputs: 1,
        objective: |p, _| p[0],
        constraints: vec![|_, y| y[0] - 0.5],
    };
    let options = Options {
        baseline: Some(vec![0.1]),
        ..Options::new(16)
    };
    let search = Search::new(space, problem, options).unwrap();
    let answer = search.answer(&trials(&study(&search, 16, |p| Some(1.0 - p[0]))));
    assert!(
        matches!(answer.verdict, Verdict::BaselineInfeasible { .. }),
        "{answer:?}"
    );
    let chosen = answer.chosen.unwrap();
    assert!((0.5..0.6).contains(&chosen.point[0]), "{chosen:?}");
}

#[test]
fn where_nothing_is_feasible_the_answer_says_so() {
    let space = Space::new(vec![range("x", 0.0, 1.0, None)]).unwrap();
    let problem = Functions {
        outputs: 1,
        objective: |p, _| p[0],
        constraints: vec![|_, y| y[0] + 1.0],
    };
    let search = Search::new(space, problem, Options::new(12)).unwrap();
    let answer = search.answer(&trials(&study(&search, 12, |p| Some(p[0]))));
    assert!(
        matches!(answer.verdict, Verdict::NothingFeasible { p_feasible } if p_feasible < 0.05),
        "{answer:?}"
    );
}

#[test]
fn general_functions_of_several_metrics_are_understood() {
    // Cost of a request: price / throughput, with a limit on the product of two metrics.
    let problem = Functions {
        outputs: 2,
        objective: |p, y| (1.0 + p[0]) / y[0],
        constraints: vec![|_, y| y[0] * y[1] - 40.0],
    };
    let space = Space::new(vec![range("x", 0.0, 4.0, None)]).unwrap();
    let search = Search::new(
        space,
        problem,
        Options {
            baseline: Some(vec![0.5]),
            ..Options::new(20)
        },
    )
    .unwrap();
    let mut history = Vec::new();
    for _ in 0..20 {
        let point = search.suggest(&history).unwrap().point;
        let throughput = 10.0 * point[0] / (0.5 + point[0]);
        let outcome = Outcome::Measured(vec![throughput, 3.0 + point[0]]);
        history.push(Trial { point, outcome });
    }
    // Without the limit the best is x = 0.71; the limit of x^2 + 3x <= 4x + 2 ends at 2.
    let point = search.answer(&history).chosen.unwrap().point;
    assert!((0.6..0.85).contains(&point[0]), "{point:?}");
}

#[test]
fn strange_histories_are_survived() {
    let space = || Space::new(vec![range("x", 0.0, 1.0, Some(0.5)), choice("gc", 2)]).unwrap();
    let search = Search::new(space(), learned(), Options::new(12)).unwrap();
    let system: [fn(usize) -> Outcome; 6] = [
        |_| Outcome::Failed,
        |_| Outcome::Measured(vec![f64::NAN]),
        |_| Outcome::Measured(vec![f64::INFINITY]),
        |_| Outcome::Measured(vec![7.0]),
        |trial| Outcome::Measured(vec![if trial == 3 { 1e300 } else { 1.0 }]),
        |trial| {
            if trial % 2 == 0 {
                Outcome::Failed
            } else {
                Outcome::Measured(vec![0.0])
            }
        },
    ];
    for outcome in system {
        let mut history = Vec::new();
        for trial in 0..15 {
            let point = search.suggest(&history).unwrap().point;
            assert!(search.space().contains(&point));
            history.push(Trial {
                point,
                outcome: outcome(trial),
            });
            let _ = search.answer(&history);
        }
    }
    assert_eq!(search.answer(&[]).verdict, Verdict::NoData);
}

#[test]
fn a_space_of_one_point_is_measured_again_and_again() {
    let space = Space::new(vec![range("x", 2.0, 2.0, None)]).unwrap();
    let search = Search::new(
        space,
        learned(),
        Options {
            baseline: Some(vec![2.0]),
            ..Options::new(6)
        },
    )
    .unwrap();
    let study = study(&search, 8, |_| Some(1.0));
    assert!(study.iter().all(|(trial, _)| trial.point == vec![2.0]));
    assert!(matches!(
        search.answer(&trials(&study)).verdict,
        Verdict::NoImprovement { .. }
    ));
}

#[test]
fn histories_of_another_study_are_refused() {
    let space = || Space::new(vec![range("x", 0.0, 1.0, None)]).unwrap();
    let search = Search::new(space(), learned(), Options::new(10)).unwrap();
    let short = [Trial {
        point: vec![],
        outcome: Outcome::Failed,
    }];
    assert!(matches!(
        search.suggest(&short),
        Err(SearchError::Point { .. })
    ));
    let wide = [Trial {
        point: vec![0.5],
        outcome: Outcome::Measured(vec![1.0, 2.0]),
    }];
    assert_eq!(
        search.suggest(&wide),
        Err(SearchError::Outputs {
            trial: 1,
            expected: 1,
            got: 2
        })
    );
    let options = |baseline| Options {
        baseline,
        ..Options::new(10)
    };
    assert!(Search::new(space(), learned(), options(Some(vec![0.1, 0.2]))).is_err());
    assert!(
        Search::new(
            space(),
            learned(),
            Options {
                budget: 0,
                ..options(None)
            }
        )
        .is_err()
    );
    assert!(
        Search::new(
            space(),
            learned(),
            Options {
                feasibility: 1.0,
                ..options(None)
            }
        )
        .is_err()
    );
}

#[test]
fn what_ran_is_an_answer_although_its_neighbours_cannot_run() {
    // Every second value of a setting cannot start: nothing smooth could be learned from that.
    let unanswered = (0..10).filter(|seed| {
        let space = Space::new(vec![range("w", 1.0, 8.0, Some(1.0)), choice("mode", 2)]).unwrap();
        let options = Options {
            seed: *seed,
            baseline: Some(vec![4.0, 1.0]),
            confirmations: 2,
            ..Options::new(14)
        };
        let search = Search::new(space, learned(), options).unwrap();
        let mut noise = noise();
        let study = study(&search, 14, |p| {
            let odd = p[0] as i64 % 2 == 1;
            (!odd).then(|| 42.0 + 3.0 * (p[0] - 6.0).abs() + 4.0 * p[1] + 1.5 * noise())
        });
        search.answer(&trials(&study)).chosen.is_none()
    });
    let unanswered = unanswered.count();
    assert!(unanswered <= 1, "{unanswered} of 10 without an answer");
}
