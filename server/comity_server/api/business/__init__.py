"""The business side: what the engineers of a business call over REST (spec/business.md)."""
