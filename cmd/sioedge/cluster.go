package main

import (
	"cmp"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"

	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/rooms/redis"
	"github.com/sioedge/sioedge/sio"
)

// cluster returns the adapter that --adapter names, nil for none.
func (c *config) cluster(log *slog.Logger) (rooms.Adapter, error) {
	addr, err := adapterURL(c.adapter, os.Getenv("REDIS_URL"))
	if addr == "" || err != nil {
		return nil, err
	}
	if c.advertise != "" {
		u, err := url.Parse(c.advertise)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" {
			return nil, fmt.Errorf("--advertise: %q is not a URL such as http://10.0.0.5:3000", c.advertise)
		}
	}
	a, err := redis.Parse(addr, redis.Options{Prefix: c.adapterPrefix, MaxSubscriptions: c.maxTopics, Logger: log})
	if err != nil {
		return nil, fmt.Errorf("--adapter: %w", err)
	}
	return a, nil
}

// adapterURL returns the URL that --adapter means, "" for none. A kind without
// an address, such as redis+streams, takes that of the environment.
func adapterURL(flag, environment string) (string, error) {
	switch {
	case flag == "memory" || strings.Contains(flag, "://"):
		return strings.TrimPrefix(flag, "memory"), nil
	case !strings.HasPrefix(flag, "redis"):
		return "", fmt.Errorf("--adapter: %q is neither memory nor a URL of Redis", flag)
	}
	scheme, rest, ok := strings.Cut(cmp.Or(environment, "redis://localhost:6379"), "://")
	if !ok {
		return "", fmt.Errorf("--adapter: $REDIS_URL is not a URL")
	}
	if _, variant, ok := strings.Cut(flag, "+"); ok {
		scheme += "+" + variant
	}
	return scheme + "://" + rest, nil
}

// open makes the namespaces of --namespace, in which whoever comes is welcome.
func (c *config) open(srv *sio.Server) (err error) {
	defer func() {
		if v := recover(); v != nil { // a name that cannot be one
			err = fmt.Errorf("--namespace: %v", v)
		}
	}()
	for _, name := range c.namespaces {
		srv.Of(name)
	}
	return nil
}
