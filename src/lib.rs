//! Servo.
