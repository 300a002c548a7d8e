/** Where each process of the server begins: the one that is started, and those that it starts beside itself. */
import cluster from 'node:cluster';
import './loading.ts';

await import(cluster.isPrimary ? './start.ts' : './worker.ts');
