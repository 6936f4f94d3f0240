//! The report: verdict, evidence and pictures in one HTML file, and the same for machines.
