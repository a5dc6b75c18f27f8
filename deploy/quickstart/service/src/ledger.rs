//! The sales of the shop: a packed, append-only ledger in order of time, as a shop would log them.
//!
//! Being ordered by time it holds no index by item: whoever wants the sales of an item unpacks the
//! ledger. [`Columns`] is where a worker unpacks it to, once for as many items as it has at hand.

use crate::mix;

/// Sales of each item, on average.
const SALES_EACH: u32 = 96;
/// Days the ledger covers.
pub(crate) const DAYS: u16 = 365;
/// Customers of the shop.
pub(crate) const CUSTOMERS: u16 = 4096;

/// All sales, packed: each as five variable-length integers, the day as the step from the sale
/// before.
#[derive(Debug)]
pub struct Ledger {
    packed: Vec<u8>,
    sales: usize,
}

/// One sale of one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sale {
    /// Position in the ledger, the order number.
    pub order: u32,
    /// Day of the year, from 0.
    pub day: u16,
    /// Who bought.
    pub customer: u16,
    /// How many.
    pub quantity: u16,
    /// Price of one, in cents.
    pub cents: u16,
}

/// An unpacked ledger, 10 bytes a sale (2 MiB for the default shop): the memory that each worker
/// costs.
#[derive(Debug, Default)]
pub struct Columns {
    item: Vec<u16>,
    day: Vec<u16>,
    customer: Vec<u16>,
    quantity: Vec<u16>,
    cents: Vec<u16>,
}

impl Ledger {
    /// A year of sales of `items` items, the same ones in each run.
    pub fn generate(items: u16) -> Self {
        let sales = u32::from(items) * SALES_EACH;
        let mut packed = Vec::with_capacity(sales as usize * 9);
        let mut before = 0;
        for order in 0..sales {
            let draw = mix(u64::from(order) ^ 0x1ed9_0000_0000);
            let item = (draw % u64::from(items)) as u16;
            let day = (u64::from(order) * u64::from(DAYS) / u64::from(sales)) as u16;
            let base = (mix(u64::from(item)) % 9_000) as u16 + 500;
            push(&mut packed, item);
            push(&mut packed, day - before);
            push(&mut packed, (draw >> 20) as u16 % CUSTOMERS);
            push(&mut packed, (draw >> 40) as u16 % 9 + 1);
            push(&mut packed, base + (draw >> 50) as u16 % 200);
            before = day;
        }
        packed.shrink_to_fit();
        Self {
            packed,
            sales: sales as usize,
        }
    }

    /// Unpacks the whole ledger into `columns`, in place of what they held.
    pub fn unpack(&self, columns: &mut Columns) {
        columns.clear();
        columns.reserve(self.sales);
        let mut bytes = self.packed.as_slice();
        let mut day = 0;
        while !bytes.is_empty() {
            columns.item.push(pull(&mut bytes));
            day = pull(&mut bytes).wrapping_add(day);
            columns.day.push(day);
            columns.customer.push(pull(&mut bytes));
            columns.quantity.push(pull(&mut bytes));
            columns.cents.push(pull(&mut bytes));
        }
    }
}

impl Columns {
    /// The sales of one item, in order of time.
    pub fn sales_of(&self, item: u16) -> impl Iterator<Item = Sale> + '_ {
        (0u32..)
            .zip(&self.item)
            .filter(move |(_, held)| **held == item)
            .filter_map(|(order, _)| {
                let row = order as usize;
                Some(Sale {
                    order,
                    day: *self.day.get(row)?,
                    customer: *self.customer.get(row)?,
                    quantity: *self.quantity.get(row)?,
                    cents: *self.cents.get(row)?,
                })
            })
    }

    fn columns(&mut self) -> [&mut Vec<u16>; 5] {
        [
            &mut self.item,
            &mut self.day,
            &mut self.customer,
            &mut self.quantity,
            &mut self.cents,
        ]
    }

    fn clear(&mut self) {
        self.columns().into_iter().for_each(Vec::clear);
    }

    fn reserve(&mut self, sales: usize) {
        self.columns()
            .into_iter()
            .for_each(|column| column.reserve_exact(sales));
    }
}

/// Appends seven bits a byte, the lowest first; the top bit says that more follow.
fn push(packed: &mut Vec<u8>, mut value: u16) {
    while value >= 0x80 {
        packed.push(value as u8 | 0x80);
        value >>= 7;
    }
    packed.push(value as u8);
}

/// Takes one integer off the front; the end of the bytes ends the integer too.
fn pull(bytes: &mut &[u8]) -> u16 {
    let mut value = 0u16;
    let mut shift = 0;
    while let [byte, rest @ ..] = *bytes {
        *bytes = rest;
        value |= u16::from(byte & 0x7f).unbounded_shl(shift);
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn packed_integers_come_back(values in prop::collection::vec(any::<u16>(), 0..50)) {
            let mut packed = Vec::new();
            values.iter().for_each(|&value| push(&mut packed, value));
            let mut bytes = packed.as_slice();
            let back: Vec<u16> = values.iter().map(|_| pull(&mut bytes)).collect();
            prop_assert_eq!(back, values);
            prop_assert!(bytes.is_empty());
        }

        #[test]
        fn arbitrary_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..50)) {
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                pull(&mut rest);
            }
        }
    }

    #[test]
    fn each_sale_belongs_to_one_item_and_time_never_goes_back() {
        let ledger = Ledger::generate(8);
        let mut columns = Columns::default();
        ledger.unpack(&mut columns);
        // Unpacking again replaces, it does not append.
        ledger.unpack(&mut columns);
        let mut orders = Vec::new();
        for item in 0..8 {
            let sales: Vec<Sale> = columns.sales_of(item).collect();
            assert!(
                sales.is_sorted_by_key(|sale| (sale.day, sale.order)),
                "item {item}"
            );
            assert!(
                sales
                    .iter()
                    .all(|sale| sale.day < DAYS && sale.quantity > 0)
            );
            orders.extend(sales.iter().map(|sale| sale.order));
        }
        orders.sort_unstable();
        assert_eq!(orders, (0..8 * SALES_EACH).collect::<Vec<u32>>());
    }
}
