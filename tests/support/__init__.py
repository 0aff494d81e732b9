"""What tests share beside fixtures: servers, people, wallets and engineers to act with, faults to inject, and readers
and references written from the specification alone."""
