//! One item's report: a JSON document of some 45 KB, and its compressed form.

use std::io::{self, Write};

use flate2::{Compress, CompressError, Compression, FlushCompress, Status};

use crate::{
    ledger::{CUSTOMERS, Sale},
    mix,
};

/// Resamples behind the interval of the mean: enough for its ends to be stable to about a percent.
const RESAMPLES: u64 = 3000;
/// The largest window of deflate, 32 KiB.
const WINDOW_BITS: u8 = 15;
const MONTH_DAYS: [u16; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
const REGIONS: [&str; 6] = [
    "north",
    "north-east",
    "coast",
    "capital",
    "highlands",
    "south",
];
const FIRST: [&str; 16] = [
    "Ada", "Bruno", "Chiara", "Dmitri", "Elif", "Farid", "Greta", "Hana", "Ivo", "Jonas", "Kaede",
    "Lena", "Mateo", "Noor", "Olga", "Pierre",
];
const LAST: [&str; 16] = [
    "Almeida",
    "Bakker",
    "Costa",
    "Dubois",
    "Eriksen",
    "Fischer",
    "Garcia",
    "Horvat",
    "Ito",
    "Jansen",
    "Keller",
    "Lindqvist",
    "Moretti",
    "Novak",
    "Okafor",
    "Petrov",
];
const NOTES: [&str; 32] = [
    "ask for the side entrance",
    "before noon if possible",
    "birthday present",
    "blue ribbon",
    "call on arrival",
    "card without a name",
    "carry to the third floor",
    "check for scratches",
    "collected in the shop",
    "combine with the next order",
    "deliver to the neighbour",
    "do not bend",
    "exchange of an earlier order",
    "express delivery",
    "fragile",
    "gift wrap in green paper",
    "in two parcels",
    "invoice by post",
    "leave with the porter",
    "matching set of four",
    "no invoice in the parcel",
    "paid on account",
    "paper bags only",
    "regular customer",
    "replacement for a broken one",
    "second choice is fine",
    "send the receipt by mail",
    "signature required",
    "take the old one back",
    "to be fetched on Friday",
    "urgent",
    "with the spare parts",
];

/// Appends the report of `item`, made from its `sales` in order of time, to `page`.
pub fn render(item: u16, sales: &[Sale], page: &mut Vec<u8>) {
    // Writing to a `Vec` does not fail.
    let _ = write_report(item, sales, page);
}

/// Compresses pages with gzip; keeps its tables from one page to the next.
#[derive(Debug)]
pub struct Packer {
    deflate: Compress,
}

impl Packer {
    /// A packer at `level` (1 to 9).
    pub fn new(level: u8) -> Self {
        let level = Compression::new(u32::from(level.min(9)));
        Self {
            deflate: Compress::new_gzip(level, WINDOW_BITS),
        }
    }

    /// `page` as gzip.
    ///
    /// # Errors
    ///
    /// The compressor refuses the page.
    pub fn pack(&mut self, page: &[u8]) -> Result<Vec<u8>, CompressError> {
        self.deflate.reset();
        let mut packed = Vec::with_capacity(page.len() / 2 + 64);
        loop {
            let taken = self.deflate.total_in() as usize;
            let rest = page.get(taken..).unwrap_or_default();
            if let Status::StreamEnd =
                self.deflate
                    .compress_vec(rest, &mut packed, FlushCompress::Finish)?
            {
                return Ok(packed);
            }
            packed.reserve(page.len() / 2 + 64);
        }
    }
}

fn write_report(item: u16, sales: &[Sale], page: &mut Vec<u8>) -> io::Result<()> {
    let mut months = [Totals::default(); 12];
    let mut regions = [Totals::default(); REGIONS.len()];
    let mut whole = Totals::default();
    for sale in sales {
        whole.add(sale);
        let (month, _) = date(sale.day);
        if let Some(totals) = months.get_mut(month) {
            totals.add(sale);
        }
        if let Some(totals) = regions.get_mut(region(sale.customer)) {
            totals.add(sale);
        }
    }

    write!(page, "{{\"item\":{item},\"motto\":\"")?;
    notes(u64::from(item), 1, page)?;
    write!(page, "\",\"remarks\":\"")?;
    notes(u64::from(item) ^ 0xde5c, 12, page)?;
    write!(page, "\",\"year\":")?;
    whole.write(page)?;
    let (low, high) = interval(item, sales);
    write!(page, ",\"mean_interval\":[{},{}]", Cents(low), Cents(high))?;
    write!(page, ",\"months\":[")?;
    for (index, totals) in months.iter().enumerate() {
        write!(
            page,
            "{}{{\"month\":{},\"totals\":",
            comma(index),
            index + 1
        )?;
        totals.write(page)?;
        write!(page, "}}")?;
    }
    write!(page, "],\"regions\":[")?;
    for (index, (name, totals)) in REGIONS.iter().zip(&regions).enumerate() {
        write!(page, "{}{{\"region\":\"{name}\",\"totals\":", comma(index))?;
        totals.write(page)?;
        write!(page, "}}")?;
    }
    write!(page, "],\"sales\":[")?;
    for (index, sale) in sales.iter().enumerate() {
        let (month, day) = date(sale.day);
        let total = u64::from(sale.quantity) * u64::from(sale.cents);
        write!(
            page,
            "{}\n{{\"order\":\"S-{:08}\",\"date\":\"2025-{:02}-{:02}\",\"region\":\"{}\",\
             \"customer\":\"{} {}\",\"quantity\":{},\"unit_price\":{},\"total\":{},\"note\":\"",
            comma(index),
            sale.order,
            month + 1,
            day + 1,
            pick(&REGIONS, region(sale.customer)),
            pick(&FIRST, usize::from(sale.customer) % FIRST.len()),
            pick(&LAST, usize::from(sale.customer) / FIRST.len() % LAST.len()),
            sale.quantity,
            Cents(u64::from(sale.cents)),
            Cents(total),
        )?;
        notes(u64::from(sale.order) ^ 0x7e17_0000, 16, page)?;
        write!(page, "\"}}")?;
    }
    writeln!(page, "]}}")
}

#[derive(Clone, Copy, Default)]
struct Totals {
    sales: u32,
    quantity: u64,
    cents: u64,
    largest: u64,
}

impl Totals {
    fn add(&mut self, sale: &Sale) {
        let cents = u64::from(sale.quantity) * u64::from(sale.cents);
        self.sales += 1;
        self.quantity += u64::from(sale.quantity);
        self.cents += cents;
        self.largest = self.largest.max(cents);
    }

    fn write(&self, page: &mut Vec<u8>) -> io::Result<()> {
        write!(
            page,
            "{{\"sales\":{},\"quantity\":{},\"turnover\":{},\"largest\":{},\"mean\":{}}}",
            self.sales,
            self.quantity,
            Cents(self.cents),
            Cents(self.largest),
            Cents(self.cents / u64::from(self.sales.max(1))),
        )
    }
}

/// The 95% interval of the mean turnover of a sale in cents, by bootstrap: turnovers are far from
/// normal.
fn interval(item: u16, sales: &[Sale]) -> (u64, u64) {
    let turnovers: Vec<u64> = sales
        .iter()
        .map(|sale| u64::from(sale.quantity) * u64::from(sale.cents))
        .collect();
    let count = turnovers.len() as u64;
    let mut means: Vec<u64> = (0..RESAMPLES)
        .map(|resample| {
            let mut draw = mix((resample << 16) | u64::from(item));
            let sum: u64 = (0..count)
                .filter_map(|_| {
                    draw = draw
                        .wrapping_mul(0x5851_f42d_4c95_7f2d)
                        .wrapping_add(0x1405_7b7e_f767);
                    turnovers.get((((draw >> 32) * count) >> 32) as usize)
                })
                .sum();
            sum / count.max(1)
        })
        .collect();
    means.sort_unstable();
    let quantile = |share: f64| {
        means
            .get((share * RESAMPLES as f64) as usize)
            .copied()
            .unwrap_or_default()
    };
    (quantile(0.025), quantile(0.975))
}

/// An amount of money, printed as a decimal number.
struct Cents(u64);

impl std::fmt::Display for Cents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

/// Month and day of the month, both from 0.
fn date(mut day: u16) -> (usize, u16) {
    for (month, days) in MONTH_DAYS.into_iter().enumerate() {
        if day < days {
            return (month, day);
        }
        day -= days;
    }
    (11, 30)
}

fn region(customer: u16) -> usize {
    usize::from(customer) * REGIONS.len() / usize::from(CUSTOMERS)
}

fn pick(from: &'static [&'static str], index: usize) -> &'static str {
    from.get(index).copied().unwrap_or_default()
}

fn comma(index: usize) -> &'static str {
    if index == 0 { "" } else { "," }
}

fn notes(seed: u64, count: u64, page: &mut Vec<u8>) -> io::Result<()> {
    let mut draw = 0;
    for index in 0..count {
        // Twelve notes of five bits each from every draw.
        draw = if index % 12 == 0 {
            mix(seed ^ (index << 48))
        } else {
            draw >> 5
        };
        let comma = if index == 0 { "" } else { "; " };
        write!(page, "{comma}{}", pick(&NOTES, (draw % 32) as usize))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Read;

    use super::*;

    #[test]
    fn a_report_adds_up() {
        let sale = |order, day, quantity| Sale {
            order,
            day,
            customer: 17,
            quantity,
            cents: 250,
        };
        let mut page = Vec::new();
        render(
            7,
            &[sale(0, 0, 1), sale(1, 31, 2), sale(2, 364, 4)],
            &mut page,
        );
        let report: serde_json::Value = serde_json::from_slice(&page).unwrap();
        assert_eq!(report["item"], 7);
        assert_eq!(report["year"]["turnover"], 17.5);
        // Of the resampled means of 2.50, 5 and 10 the extreme ones are rare, but not below 2.5%.
        assert_eq!(report["mean_interval"], serde_json::json!([2.5, 10.0]));
        assert_eq!(report["months"][1]["totals"]["quantity"], 2);
        assert_eq!(report["regions"][0]["totals"]["sales"], 3);
        assert_eq!(report["sales"][1]["date"], "2025-02-01");
        assert_eq!(report["sales"][2]["date"], "2025-12-31");
        assert_eq!(report["sales"][2]["total"], 10.0);
    }

    #[test]
    fn packing_gives_the_page_back_and_a_higher_level_gives_fewer_bytes() {
        let sales: Vec<Sale> = (0..90)
            .map(|n| Sale {
                order: 7,
                day: n * 4,
                customer: n * 40,
                quantity: 1,
                cents: 999,
            })
            .collect();
        let mut page = Vec::new();
        render(1, &sales, &mut page);
        let sizes = [1, 5, 9].map(|level| {
            let packed = Packer::new(level).pack(&page).unwrap();
            let mut back = Vec::new();
            flate2::read::GzDecoder::new(packed.as_slice())
                .read_to_end(&mut back)
                .unwrap();
            assert_eq!(back, page, "level {level}");
            packed.len()
        });
        assert!(
            page.len() > 2 * sizes[0] && sizes.is_sorted_by(|a, b| a > b),
            "{sizes:?}"
        );
    }
}
