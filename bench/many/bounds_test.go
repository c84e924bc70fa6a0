package main

import (
	"strings"
	"testing"
)

func TestConnectionsAreDealtToServers(t *testing.T) {
	m := machine{available: 22 << 30, descriptors: 20_000, files: 2_400_000, ports: 28_232}
	tracking, few, small := m, m, m
	tracking.tracked, few.files, small.available = 262_144, 100_000, 1<<30
	for _, c := range []struct {
		name         string
		m            machine
		wanted, most int
		want         share
	}{
		{"as asked", m, 150_000, 0, share{9, 16_667, "as was asked"}},
		{"in more servers", m, 150_000, 15_000, share{10, 15_000, "as was asked"}},
		{"one is enough", m, 5, 0, share{1, 5, "as was asked"}},
		{"all that memory holds", small, 0, 0, share{3, 16_527, "memory"}},
		{"all of the descriptors", m, 0, 0, share{60, 18_000, "descriptors of all processes"}},
		{"all of few descriptors", few, 0, 0, share{3, 15_000, "descriptors of all processes"}},
		{"all that are tracked", tracking, 0, 0, share{14, 16_852, "connections that the firewall tracks"}},
	} {
		if got, err := c.m.deal(c.wanted, c.most); got != c.want || err != nil {
			t.Errorf("%s: deal(%d, %d) = %+v, %v, want %+v", c.name, c.wanted, c.most, got, err, c.want)
		}
	}
	if _, err := few.deal(50_000, 0); err == nil || !strings.Contains(err.Error(), "45000") {
		t.Errorf("deal of too many = %v, want how many there can be", err)
	}
	if _, err := (machine{available: 1 << 40, files: 1 << 40}).deal(1, 0); err == nil {
		t.Error("deal without ports = nil, want an error")
	}
}
